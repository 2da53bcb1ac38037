"""No index repeats how another begins: each is written with every row, and finds nothing that the other does not."""

import pytest
from django.apps import apps
from django.db import connection

APPS = ("audit_app", "environments_app", "secrets_app")
TABLES = sorted(model._meta.db_table for app in APPS for model in apps.get_app_config(app).get_models())


@pytest.mark.every_database
@pytest.mark.django_db
@pytest.mark.parametrize("table", TABLES)
def test_no_index_is_how_another_begins(table: str) -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table)
    indexes = {name: tuple(about["columns"]) for name, about in found.items() if about["index"]}
    plain = {name: columns for name, columns in indexes.items() if not found[name]["unique"]}

    repeats = {
        name: longer
        for name, columns in plain.items()
        for longer, others in indexes.items()
        if name != longer and others[: len(columns)] == columns
    }

    assert repeats == {}
