"""Rows of docs/internals/from-the-brief.md that differ from the brief do as they say."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from keeper_project.runtime.database_setup import initialise

pytestmark = pytest.mark.django_db
Bearer = Callable[..., Client]


def test_a_new_installation_has_the_environment_of_the_brief_already(bearer: Bearer) -> None:
    initialise(announce=lambda _username, _password: None)
    admin = bearer("admin")
    body = {"name": "production", "display_name": "Production Environment"}
    assert admin.post("/api/environments", body, content_type="application/json").status_code == 409
    body["name"] = "qa"
    assert admin.post("/api/environments", body, content_type="application/json").status_code == 201


def test_a_migration_to_kms_names_the_variable_that_it_needs() -> None:
    with pytest.raises(CommandError, match="KEY_MIGRATION is off"):
        call_command("migrate_to_kms", "--dry-run", stdout=StringIO(), stderr=StringIO())
