"""Brings the database up to date, one process at a time, and makes an empty database a Keeper.

A setup that was killed is recovered from. Replicas and `keeper init-db` may start together on one database.
MariaDB commits each DDL statement at once, so a process that is killed within a migration leaves part of
it. SQLite rolls it back.

An empty database gets its environments and its first administrator.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import claim_first, note_marks
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.errors import KeeperError
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.environments.service import create_environment
from environments_app.models import Environment, User, UserRole
from environments_app.users.accounts import create_user, new_password
from operations_app.system.upgrade import too_old
from secrets_app.models import Secret

Say = Callable[[str], None]

_WAITING: Final = "Another process is setting up this database. Waiting for it to finish."
# Shorter than any proxy or server lets a connection be silent.
_WAIT_SECONDS: Final = 20
# The table, column, key or constraint exists already; or what is dropped or renamed does not exist any more.
_APPLIED_BEFORE: Final = frozenset({1050, 1051, 1054, 1060, 1061, 1091, 1146, 1826})


class SetupFailed(KeeperError):
    """The database cannot be brought up to date."""


class MigrationInterrupted(SetupFailed):
    """Part of a migration is in a database that holds data: an earlier process was stopped within it."""


class DatabaseTooOld(SetupFailed):
    """Only some of the migrations that a squashed one replaces are applied."""


class LockFailed(SetupFailed):
    """The server gave no lock on the setup of the database."""


def migrate(*, say: Say, verbosity: int = 0) -> int:
    """Apply the migrations while no other process does, and return how many waited.

    `say` gets a sentence if it waits or starts over. A new database whose setup was stopped halfway is
    emptied and set up again. Raises MigrationInterrupted if that happened to a database that holds data,
    DatabaseTooOld.
    """
    with setup_lock(say):
        if reason := too_old():
            raise DatabaseTooOld(reason)
        applied = _applied()
        try:
            _apply(verbosity)
        except (OperationalError, ProgrammingError) as error:
            if not error.args or error.args[0] not in _APPLIED_BEFORE:
                raise
            interrupted = _first_unapplied()
            if not _is_new():
                raise MigrationInterrupted(
                    f"The migration {interrupted} is half applied ({error.args[1]}): an earlier process was "
                    "stopped during it. Restore the backup from before the upgrade, and start again."
                ) from error
            say(
                f"An earlier setup was stopped during the migration {interrupted}. "
                "Starting over with empty tables."
            )
            drop_all_tables()
            _apply(verbosity)
        return len(_applied() - applied)


@contextmanager
def setup_lock(say: Say) -> Iterator[None]:
    """Hold the lock on the setup of this database; log it if another process holds it. Raises LockFailed."""
    lock = _locked_file if connection.vendor == "sqlite" else _locked_on_server
    with lock(say):
        yield


@contextmanager
def _locked_file(say: Say) -> Iterator[None]:
    """Lock a file beside the database, which every process that uses the database can reach."""
    name = str(connection.settings_dict["NAME"])
    if name.startswith(("file:", ":memory:")):
        yield
        return
    # Where there is no such folder, this is the error of the database.
    connection.ensure_connection()
    descriptor = os.open(f"{name}.setup-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(_WAITING)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _locked_on_server(say: Say) -> Iterator[None]:
    """Hold a lock of the server by a connection of its own, with which the server gives it up."""
    name = lock_name(str(connection.settings_dict["NAME"]))
    other: Any = connection.copy()
    try:
        with other.cursor() as cursor:
            if not _gets_lock(cursor, name, 0):
                say(_WAITING)
                while not _gets_lock(cursor, name, _WAIT_SECONDS):
                    pass
        yield
    finally:
        other.close()


def lock_name(database: str) -> str:
    """Return the name of the lock, which all databases of a server share; at most 64 characters (MySQL)."""
    return f"keeper:setup:{hashlib.sha256(database.encode()).hexdigest()[:32]}"


def _gets_lock(cursor: Any, name: str, seconds: int) -> bool:
    cursor.execute("SELECT GET_LOCK(%s, %s)", [name, seconds])
    (got,) = cursor.fetchone()
    if got is None:
        raise LockFailed("The database server gave no lock (GET_LOCK) for the setup of the database.")
    return bool(got)


def _apply(verbosity: int) -> None:
    call_command("migrate", verbosity=verbosity, interactive=False)


def _applied() -> set[tuple[str, str]]:
    return {*MigrationRecorder(connection).applied_migrations()}


def _first_unapplied() -> str:
    """Return the migration that is not recorded as applied and comes first: the one that was under way."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return str(plan[0][0])


def _is_new() -> bool:
    """Return whether the database holds Keeper's tables alone, with no account, secret or event."""
    existing = set(connection.introspection.table_names())
    # Migrations also make tables of models that are gone today.
    prefixes = tuple(f"{config.label}_" for config in apps.get_app_configs())
    known = {*connection.introspection.django_table_names(), MigrationRecorder.Migration._meta.db_table}
    if any(table not in known and not table.startswith(prefixes) for table in existing):
        return False
    kept = [model for model in (User, Secret, AuditEvent) if model._meta.db_table in existing]
    return not any(model.objects.exists() for model in kept)


def drop_all_tables() -> None:
    """Drop every table of the database, Keeper's or not."""
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"DROP TABLE {connection.ops.quote_name(table)}")


# In the order in which changes pass through them.
ENVIRONMENTS: Final = {"development": "Development", "staging": "Staging", "production": "Production"}

Announce = Callable[[str, str], None]


def initialise(*, announce: Announce) -> bool:
    """Make what a new installation needs, and return whether anything had to be made.

    Does nothing once the audit log records it as done, so a removed environment stays removed.
    `announce(username, password)` is called with the first administrator's generated password before the
    account is created: an interruption in between leaves an unused password, not an account without a known
    one. A password from KEEPER_ADMIN_PASSWORD is not announced.

    Raises InvalidField if that one is too weak, BadName for a bad KEEPER_ADMIN_USERNAME.
    """
    # Here no transaction is open yet: with KMS the system keys come over the network.
    keyring().open_all()
    if AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_INITIALISE).exists():
        # One that is older than this: it acts where it is.
        claim_first(actor=system_principal())
        note_marks(actor=system_principal())
        return False
    administrator = _administrator(announce)
    existing = set(Environment.objects.values_list("name", flat=True))
    for name, display_name in ENVIRONMENTS.items():
        if name not in existing:
            create_environment(actor=user_principal(administrator), name=name, display_name=display_name)
    claim_first(actor=system_principal())
    record(
        actor=system_principal(),
        action=Action.DEPLOYMENT_INITIALISE,
        stream=streams.SYSTEM,
        object=AuditObject("deployment", deployment_uuid(), "keeper"),
        details={"environments": list(ENVIRONMENTS)},
    )
    return True


def _administrator(announce: Announce) -> User:
    found = User.objects.filter(role=UserRole.ADMIN, is_active=True).order_by("id").first()
    if found:
        return found
    username = settings.KEEPER_ADMIN_USERNAME
    password = settings.KEEPER_ADMIN_PASSWORD
    if not password:
        password = new_password()
        announce(username, password)
    actor = system_principal(is_admin=True)
    return create_user(actor=actor, username=username, role=UserRole.ADMIN, password=password)
