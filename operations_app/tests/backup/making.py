"""An installation with something of each kind in it, and its backup."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from core.config.database_url import database_settings
from environments_app.authorization.principals import system_principal
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from operations_app.backup.create import back_up
from operations_app.backup.verification import standing_in
from secrets_app.tests.kept import change, keep
from sync_app.tests.shown import make_entry, make_target

OPERATOR = system_principal(is_admin=True)


def furnish(cast: Cast) -> None:
    """Keep secrets with history in two environments, a token, a target and an entry."""
    secret = keep(cast, "payments/key")
    change(cast, secret, "the second value of it")
    keep(cast, "other", "wert-\N{SNOWMAN}", environment=cast.production)
    issue(actor=OPERATOR, environment=cast.development, role="reader", name="build")
    make_entry(make_target(cast.development), secret, "in_sync")


def backup_of(cast: Cast, folder: Path) -> Path:
    """Return the backup of a furnished installation."""
    furnish(cast)
    return back_up(actor=OPERATOR, path=folder / "made.kbk").path


@contextmanager
def another_database(folder: Path, *, empty: bool = False) -> Iterator[Path]:
    """Let Keeper's database be a SQLite file, as in production; `empty` leaves out the tables."""
    path = folder / "another.db"
    with standing_in(database_settings(f"sqlite:///{path}", base_dir=folder), tables=not empty):
        if not empty:
            _migrated()
        yield path


def _migrated() -> None:
    recorder = MigrationRecorder(connection)
    recorder.ensure_schema()
    applied = [
        recorder.Migration(app=app, name=name)
        for app, name in MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    ]
    recorder.Migration.objects.bulk_create(applied)
