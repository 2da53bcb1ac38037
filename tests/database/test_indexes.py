"""No index repeats how another begins: each is written with every row, and finds nothing that the other does not."""

import pytest
from django.apps import apps
from django.db import connection

APPS = ("audit_app", "environments_app", "secrets_app")


@pytest.mark.every_database
@pytest.mark.django_db
@pytest.mark.parametrize("app", APPS)
def test_no_index_is_how_another_begins(app: str) -> None:
    tables = [model._meta.db_table for model in apps.get_app_config(app).get_models()]

    assert {table: found for table in tables if (found := repeats(table))} == {}
    assert tables


def repeats(table: str) -> dict[str, tuple[str, ...]]:
    """Return each index of a table that another one begins with, and that other one's columns."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table)
    indexes = {name: tuple(about["columns"]) for name, about in found.items() if about["index"]}
    plain = {name: columns for name, columns in indexes.items() if not found[name]["unique"]}

    return {
        name: others
        for name, columns in plain.items()
        for longer, others in indexes.items()
        if name != longer and others[: len(columns)] == columns
    }
