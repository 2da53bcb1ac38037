"""What each test finds, and what it asks for: a process that remembers nothing, the cast, clients."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client, TransactionTestCase, override_settings
from django.utils import timezone
from kombu.transport.memory import Channel as MemoryChannel
from pytest_django import DjangoDbBlocker

from audit_app.interfaces import forget_keyring
from audit_app.models import AuditEvent, forget_deployment
from core import workers
from environments_app.authorization.principals import system_principal
from environments_app.models import Environment, User
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens.service import issue
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.keys.providers.registry import forget_provider
from secrets_app.rows import environment_snapshot
from tests import migrated, page_context, requests_under_way
from tests.template import Template, make_template, put_back, stored_tables

# Held for ever: nobody stores a snapshot beside an answer.
_BUSY = threading.Lock()
_BUSY.acquire()
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    """Wait for the threads of a test: what ends one later would be reported in another test."""
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        if thread not in before and _is_of_a_test(thread):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), f"{thread.name} outlives its test"


def _is_of_a_test(thread: threading.Thread) -> bool:
    """Return whether what it runs is written in a test; servers of the session are of other modules."""
    module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
    return "tests" in module.split(".")


@pytest.fixture(scope="session", autouse=True)
def _settings_of_all() -> Iterator[None]:
    """Set once what every test has; one that wants it otherwise says so."""
    with override_settings(
        SECURE_SSL_REDIRECT=False,
        # Each client loads the middleware anew; WhiteNoise would look at every static file each time.
        WHITENOISE_AUTOREFRESH=True,
        KEEPER_AUDIT_SINKS=[],
        KEEPER_EVENT_SINKS=[],
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def _transactions_that_stay() -> Iterator[None]:
    """Let no request close the connection inside a test's transaction, whoever sends it."""
    close = BaseDatabaseWrapper.close_if_unusable_or_obsolete

    def outside(self: BaseDatabaseWrapper) -> None:
        if not self.in_atomic_block:
            close(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BaseDatabaseWrapper, "close_if_unusable_or_obsolete", outside)
        yield


@pytest.fixture(scope="session", autouse=True)
def _page_context(django_test_environment: None) -> Iterator[None]:
    """Spare each page eighty copies of its context."""
    with page_context.noted_once():
        yield


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    _forget()
    yield
    _forget()


@pytest.fixture(autouse=True)
def _no_snapshots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store snapshots in their own tests alone: the thread that stores one may outlive any other."""
    if "snapshot" not in request.module.__name__:
        monkeypatch.setattr(environment_snapshot, "_STORING", _BUSY)


@pytest.fixture(autouse=True)
def _answered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the live server finish with the test's requests before the test's rows are removed."""
    if "live_server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")
    yield
    requests_under_way.wait_until_none()


def _forget() -> None:
    forget_keyring()
    forget_deployment()
    forget_data_keys()
    forget_provider()
    cache.clear()
    # A broker that a test took away is left alone for a while.
    workers.broker_calls.cache_clear()
    # What the tests of before sent to the embedded worker, which is none of this one.
    MemoryChannel.queues.clear()


@pytest.fixture(scope="session")
def django_db_keepdb(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> bool:
    """Give the process a migrated database, which Django takes for one of an earlier run."""
    with django_db_blocker.unblock():
        migrated.make()
    return True


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[dict[bool, Template]]:
    """Let a test without a transaction around it leave what the migrations left, by plain SQL.

    The templates are made here, before any test: one that asks for the cast by name would otherwise
    make the committed one inside its own transaction, where the creation of the keys is not recorded.
    """
    with django_db_blocker.unblock():
        stored = stored_tables()
        _forget()
        templates = {committed: make_template(committed=committed) for committed in (False, True)}
        _forget()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", lambda _: put_back(stored))
        yield templates


@pytest.fixture(scope="session")
def schema(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Path | None:
    """Return a database on disk that is migrated and otherwise empty; None where the suite is not on SQLite.

    A Keeper that finds a copy of it starts in 2 s instead of 8 s. Tests of the setup itself start without.
    """
    if connection.vendor != "sqlite":
        return None
    path = tmp_path_factory.mktemp("schema") / "keeper.db"
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(path)])
    with closing(sqlite3.connect(path)) as copied:
        # What had rows before, and has none, would go on counting where it was.
        for (table,) in copied.execute("SELECT name FROM sqlite_sequence").fetchall():
            last = f'SELECT COALESCE(MAX(rowid), 0) FROM "{table}"'
            copied.execute(f"UPDATE sqlite_sequence SET seq = ({last}) WHERE name = ?", (table,))
        copied.commit()
    return path


@pytest.fixture(scope="session")
def _templates(django_db_setup: dict[bool, Template]) -> dict[bool, Template]:
    """Return the stored cast: as a test inside a transaction has it, and (True) as one without has it."""
    return django_db_setup


@pytest.fixture
def cast(_templates: dict[bool, Template], db: None) -> Cast:
    """Return the cast; its rows are those of the template, unless the test has other keys or rows already."""
    template = _templates[not connection.in_atomic_block]
    return template.store() if template.fits() else make_cast()


@pytest.fixture(scope="module")
def module_cast(_templates: dict[bool, Template], django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """Return the cast, stored until the module ends; a test of the module forgets its own changes alone.

    What fixtures of the module store stays as well. No test of the module may ask for a database without a
    transaction, and each one that uses the keys opens them.
    """
    outermost = transaction.atomic()
    # As that of a test: Keeper looks at it as if there were none, and asks other systems.
    outermost._from_testcase = True  # type: ignore[attr-defined]
    _forget()
    with django_db_blocker.unblock(), outermost:
        yield _templates[False].store()
        transaction.set_rollback(True)
    _forget()


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that a test does happen within one minute, by which refusals are counted."""
    now = timezone.now().replace(second=30)
    monkeypatch.setattr("audit_app.recording.refusals.timezone", SimpleNamespace(now=lambda: now))


@pytest.fixture
def one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose and write the OpenAPI document once for all requests of a test: it takes a second."""
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.renderers import OpenApiYamlRenderer

    compose: Any = SchemaGenerator.get_schema
    composed: list[Any] = []

    def first(self: SchemaGenerator, *given: Any, **options: Any) -> Any:
        composed[:] = composed or [compose(self, *given, **options)]
        return composed[0]

    write: Any = OpenApiYamlRenderer.render
    written: list[bytes] = []

    def once(self: OpenApiYamlRenderer, data: Any, *given: Any, **options: Any) -> bytes:
        if not composed or data is not composed[0]:
            return bytes(write(self, data, *given, **options))
        written[:] = written or [write(self, data, *given, **options)]
        return written[0]

    monkeypatch.setattr(SchemaGenerator, "get_schema", first)
    monkeypatch.setattr(OpenApiYamlRenderer, "render", once)


@pytest.fixture
def sql() -> Callable[..., None]:
    """Write to the database as somebody would who goes round Keeper."""

    def run(statement: str, *parameters: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    return run


@pytest.fixture
def events() -> Callable[..., list[AuditEvent]]:
    """Return the events of an action, oldest first."""

    def find(action: str, **conditions: object) -> list[AuditEvent]:
        return list(AuditEvent.objects.filter(action=action, **conditions).order_by("id"))

    return find


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """Return a browser in which somebody is signed in."""

    def start(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="environments_app.users.password_backend.LocalBackend")
        return client

    return start


@pytest.fixture
def bearer() -> Callable[..., Client]:
    """Return a client that sends a new service token."""

    def start(role: str, environment: Environment | None = None, **options: Any) -> Client:
        actor = system_principal(is_admin=True)
        _, text = issue(actor=actor, environment=environment, role=role, name=f"{role}-token", **options)
        return Client(headers={"authorization": f"Bearer {text}"})

    return start
