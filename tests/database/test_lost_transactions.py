"""A request that lost its transaction is answered again, and only while nothing of it can be stored."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import OperationalError as DatabaseAway
from django.db import connection
from django.test import Client, RequestFactory
from MySQLdb import OperationalError

from audit_app.models import AuditEvent
from core.db import concurrency
from core.db.concurrency import WORK, Attempts
from core.db.mariadb import base
from core.db.mariadb.base import LazyConnection
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
OVERTAKEN, NOT_READY, LOST = 1213, 1047, 2013
VAULT = "/vault/v1/development/data/lost"


class Faults:
    """What the server does to the next COMMITs: answers with an error, before or after it has carried one out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: list[int] = []
        self.after: list[int] = []
        query, ended = LazyConnection.query, LazyConnection._end

        def query_with_faults(lazy: LazyConnection, statement: bytes) -> None:
            commits = bytes(statement).endswith(b"COMMIT")
            if commits:
                self._fail(self.before, lazy)
            query(lazy, statement)
            if commits and self.after:
                while lazy.next_result() == 0:
                    lazy.store_result()
                self._fail(self.after)

        def end_with_faults(lazy: LazyConnection, end: Callable[[], None]) -> None:
            commits = lazy.writes and end.__name__ == "commit"
            if commits:
                self._fail(self.before, lazy)
            ended(lazy, end)
            if commits:
                self._fail(self.after)

        monkeypatch.setattr(LazyConnection, "query", query_with_faults)
        monkeypatch.setattr(LazyConnection, "_end", end_with_faults)

    def _fail(self, planned: list[int], lazy: LazyConnection | None = None) -> None:
        if planned:
            code = planned.pop(0)
            if lazy is not None:
                # As a server does, which has taken it back.
                LazyConnection.__mro__[1].query(lazy, b"ROLLBACK")
            raise OperationalError(code, "a fault of the test")


@pytest.fixture
def faults(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Faults:
    if connection.vendor != "mysql":
        pytest.skip("SQLite has one writer at a time")
    return Faults(monkeypatch)


def ask(client: Client, method: str, path: str, body: dict[str, Any]) -> int:
    """Send a request as a server's thread does, which has read its body."""
    content = json.dumps(body).encode()
    environ: dict[str, Any] = RequestFactory()._base_environ(  # type: ignore[attr-defined]  # the stub leaves it out
        PATH_INFO=path,
        REQUEST_METHOD=method,
        CONTENT_TYPE="application/json",
        CONTENT_LENGTH=str(len(content)),
        HTTP_AUTHORIZATION=client.defaults["HTTP_AUTHORIZATION"],
        HTTP_X_VAULT_TOKEN=client.defaults["HTTP_AUTHORIZATION"].removeprefix("Bearer "),
    )
    environ["wsgi.input"] = BytesIO(content)
    answered: list[str] = []

    def start(status: str, _headers: Any, _error: Any = None, /) -> Callable[[bytes], object]:
        answered.append(status)
        return lambda _: None

    list(WSGIHandler()(environ, start))
    return int(answered[-1][:3])


@pytest.fixture
def editor(cast: Cast, bearer: Callable[..., Client]) -> Client:
    """Return a client whose environment has its keys: a first write stores them, and the rest after it."""
    client = bearer("editor", cast.development)
    assert create(client, cast, name="first") == 201
    return client


def create(client: Client, cast: Cast, *, name: str = "lost") -> int:
    body = {"environment_id": cast.development.pk, "name": name, "secret_type": "TEXT", "value": "v"}
    return ask(client, "POST", "/api/secrets", body)


def created() -> int:
    return AuditEvent.objects.filter(action="secret.create", object_name="lost").count()


@pytest.mark.parametrize("protocol", ["rest", "vault"])
def test_a_write_that_another_one_overtook_is_done_again(
    cast: Cast, editor: Client, faults: Faults, protocol: str
) -> None:
    faults.before = [OVERTAKEN, OVERTAKEN]
    if protocol == "rest":
        assert create(editor, cast) == 201
    else:
        assert ask(editor, "POST", VAULT, {"data": {"a": "b"}}) == 200
    assert faults.before == []
    assert (Secret.objects.filter(name="lost").count(), created()) == (1, 1)


@pytest.mark.parametrize("code", [LOST, NOT_READY])
def test_a_commit_without_an_answer_is_not_done_again(
    cast: Cast, editor: Client, faults: Faults, code: int
) -> None:
    faults.after = [code]
    assert create(editor, cast) == 503
    connection.close()
    # It was stored: who asks again is told so, and nothing is stored twice.
    assert (Secret.objects.filter(name="lost").count(), created()) == (1, 1)
    assert create(editor, cast) == 409


def test_what_was_stored_before_is_not_stored_again(
    cast: Cast, editor: Client, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def stores_first(**given: Any) -> Any:
        calls.append(given)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE secrets_app_secret SET name = name WHERE id = 0")
        faults.before = [OVERTAKEN]
        return real(**given)

    real = write.create
    monkeypatch.setattr(write, "create", stores_first)
    assert create(editor, cast) == 503
    assert len(calls) == 1


def test_it_ends_after_its_time(
    cast: Cast, editor: Client, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "_SECONDS", 0.3)
    faults.before = [OVERTAKEN] * 1000
    assert create(editor, cast) == 503
    assert 1 < len(faults.before) < 999
    faults.before = []
    assert not Secret.objects.filter(name="lost").exists()


def test_a_connection_that_ended_before_the_commit_is_replaced_once(
    cast: Cast, editor: Client, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, left = LazyConnection.query, [1]

    def dies(lazy: LazyConnection, statement: bytes) -> None:
        if b"INSERT INTO" in bytes(statement) and left:
            left.pop()
            lazy.kill(lazy.thread_id())
        query(lazy, statement)

    monkeypatch.setattr(LazyConnection, "query", dies)
    assert create(editor, cast) == 201
    assert created() == 1


@pytest.mark.parametrize(("hosts", "repeated"), [([], False), ([("127.0.0.1", "1")], True)])
def test_other_hosts_are_waited_for(
    cast: Cast, faults: Faults, monkeypatch: pytest.MonkeyPatch, hosts: list[Any], repeated: bool
) -> None:
    monkeypatch.setattr(concurrency, "_AWAY_SECONDS", 0.0)
    if hosts:
        monkeypatch.setitem(connection.settings_dict, "HOSTS", hosts)
    attempts, error = Attempts(), DatabaseAway(NOT_READY, "")
    assert attempts.may_repeat(error)
    assert attempts.may_repeat(error)
    assert attempts.may_repeat(error) is repeated


@pytest.mark.parametrize(("state", "stays"), [("4", True), ("0", False)])
def test_a_node_on_which_a_read_waits_in_vain_is_left_if_it_is_no_member(
    cast: Cast, faults: Faults, monkeypatch: pytest.MonkeyPatch, state: str, stays: bool
) -> None:
    connection.ensure_connection()
    connection.connection.is_node = True

    def in_vain(_self: object, _statement: object) -> None:
        raise OperationalError(1205, "a fault of the test")

    with monkeypatch.context() as patched:
        patched.setattr(LazyConnection.__mro__[1], "query", in_vain)
        with pytest.raises(DatabaseAway):
            Secret.objects.exists()
    monkeypatch.setattr(base, "_states", lambda _: {"wsrep_ready": "ON", "wsrep_local_state": state})
    assert connection.is_usable() is stays
    # It is asked once.
    monkeypatch.setattr(base, "_states", None)
    assert connection.is_usable()


def test_work_outside_of_a_transaction_counts_as_stored(cast: Cast, faults: Faults) -> None:
    attempts = Attempts()
    Secret.objects.filter(pk=0).exists()
    before = WORK.stored
    Secret.objects.filter(pk=0).update(name="x")
    assert (before, WORK.stored) == (False, True)
    assert not attempts.may_repeat(None)
