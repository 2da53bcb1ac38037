"""The migrations that the database lacks, and readiness without them."""

import pytest
from django.core.management import call_command
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from environments_app.tests.cast import Cast
from operations_app.health.schema import later_migrations, missing_migrations

pytestmark = pytest.mark.django_db


@pytest.mark.every_database
def test_a_migrated_database_lacks_nothing_and_has_nothing_of_a_later_release() -> None:
    call_command("migrate", check_unapplied=True, verbosity=0)
    assert missing_migrations() == []
    assert later_migrations() == []


def test_what_a_squashed_migration_replaced_is_of_no_later_release() -> None:
    MigrationRecorder.Migration.objects.create(app="sync_app", name="0001_initial")
    assert later_migrations() == []


def test_it_is_not_ready_on_the_schema_of_the_release_before(cast: Cast) -> None:
    MigrationRecorder.Migration.objects.filter(app="sync_app", name__startswith="0002").delete()

    answer = Client().get("/readyz")

    assert answer.status_code == 503
    (check,) = (each for each in answer.json()["checks"] if each["name"] == "schema")
    assert check["detail"] == "the database lacks migrations of this release; run keeper init-db"
    assert missing_migrations() == ["sync_app.0002_claimed_from"]
