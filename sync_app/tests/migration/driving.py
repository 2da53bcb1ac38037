"""Migrations as tests drive them: carried on in this process, applied, and read by the words of their lines."""

from typing import Any

from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services.read import reveal
from sync_app.migration import engine, service
from sync_app.models import Migration, MigrationLine


def work(migration: Migration) -> Migration:
    """Carry a migration on, as a worker does."""
    engine.execute(migration.pk)
    migration.refresh_from_db()
    return migration


def apply(cast: Cast, migration: Migration, *, who: User | None = None, **given: Any) -> Migration:
    """Apply the plan, by default as erin, and carry it on."""
    actor = cast.principal(who or cast.erin)
    service.request_apply(actor=actor, migration=migration, digest=migration.plan_digest, **given)
    work(migration)
    assert not migration.error, migration.error
    return migration


def words(migration: Migration) -> dict[str, str]:
    """Return the word of each path in the present plan."""
    lines = MigrationLine.objects.filter(migration=migration, plan=migration.plan)
    return {line.path: str(line.word) for line in lines}


def value(cast: Cast, name: str, number: int | None = None, environment: str = "development") -> str:
    """Return the value of a living secret, by default of its current version."""
    secret = Secret.objects.select_related("environment").get(
        name=name, live=True, environment__name=environment
    )
    return reveal(actor=cast.principal(cast.alice), secret=secret, number=number).value
