"""SQLite takes anything into any column: lists go on without such a row, and the checks name it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.tests.kept import keep

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases refuse these values"),
]

Sql = Callable[..., None]
LISTS = (
    "/",
    "/secrets",
    "/activity",
    "/api/secrets",
    "/api/secrets?limit=1&ordering=-name",
    "/api/secrets?limit=1&ordering=updated",
    "/api/events",
    "/api/events?limit=1",
    "/api/environments/development/export",
)
NOT_UTF8 = object()


@pytest.fixture
def secret(cast: Cast) -> Secret:
    keep(cast, "payments/aaa", "another value")
    keep(cast, "payments/zzz", "another value")
    return keep(cast, "payments/db", "the value")


def _set(sql: Sql, table: str, column: str, value: object, where: str) -> None:
    if value is NOT_UTF8:
        sql(f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE {where}")
    else:
        sql(f"UPDATE {table} SET {column} = %s WHERE {where}", value)


def _problems() -> list[Problem]:
    return [*verify(), *run_checks()]


def _statuses(client: Client, *paths: str) -> dict[str, int]:
    return {path: client.get(path).status_code for path in paths}


@pytest.fixture
def alice(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(cast.alice)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("uuid", "zzz"),
        ("uuid", b"\xff"),
        ("name", b"\xff\xfe"),
        ("name", b"payments/db"),
        ("name", NOT_UTF8),
        ("secret_type", b"\xff"),
        ("row_mac", "text"),
        ("row_mac", 10**15),
        ("current_number", "abc"),
    ],
)
def test_lists_leave_out_a_secret_that_cannot_be_read(
    secret: Secret, alice: Client, sql: Sql, column: str, value: object
) -> None:
    _set(sql, "secrets_app_secret", column, value, f"id = {secret.pk}")
    assert _statuses(alice, *LISTS) == dict.fromkeys(LISTS, 200)
    names = [found["name"] for found in alice.get("/api/secrets").json()["results"]]
    assert names == ["payments/aaa", "payments/zzz"]
    assert any(f"secret {secret.pk} " in problem.object for problem in _problems())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("description", b"\xff"),
        ("description", NOT_UTF8),
        ("tags", b"\xff"),
        ("facts", "[1]"),
        ("created_at", "garbage"),
        ("updated_at", "2026-13-45 00:00:00"),
        ("updated_at", b"\xff"),
        ("expires_at", "garbage"),
        ("revision", "abc"),
    ],
)
def test_lists_answer_with_a_column_that_no_mac_covers(
    secret: Secret, alice: Client, sql: Sql, column: str, value: object
) -> None:
    _set(sql, "secrets_app_secret", column, value, f"id = {secret.pk}")
    pages = (*LISTS, f"/secrets/{secret.pk}", f"/api/secrets/{secret.pk}")
    assert _statuses(alice, *pages) == dict.fromkeys(pages, 200)
    assert all(problem.kind != "unreadable" for problem in _problems())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor_name", b"\xff"),
        ("actor_name", NOT_UTF8),
        ("details", b"\xff"),
        ("details", "not json"),
        ("details", "[1]"),
        ("details", '{"version":"zz","rows":[1]}'),
        ("object_uuid", "zz"),
        ("uuid", b"\xff"),
        ("at", "garbage"),
        ("at", b"\xff"),
        ("hash", "text"),
        ("mac", "text"),
        ("previous_hash", "text"),
        ("outcome", b"\xff"),
    ],
)
def test_an_event_that_cannot_be_read_is_shown_and_named(
    cast: Cast, secret: Secret, alice: Client, sql: Sql, column: str, value: object
) -> None:
    where = f"action = 'secret.create' AND object_uuid = '{secret.uuid.hex}'"
    stream = f"environment:{cast.development.uuid}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT sequence FROM audit_app_auditevent WHERE {where}")
        (sequence,) = cursor.fetchone()
    _set(sql, "audit_app_auditevent", column, value, where)
    found = _problems()
    assert next((p.kind in {"edited", "forged"}, p.sequence) for p in found if p.stream == stream) == (
        True,
        sequence,
    )
    assert all(problem.kind != "unreadable" for problem in found)
    assert _statuses(alice, *LISTS) == dict.fromkeys(LISTS, 200)


@pytest.mark.parametrize(("column", "value"), [("stream", b"\xff"), ("sequence", "abc")])
def test_an_event_outside_of_every_stream_ends_no_verification(
    secret: Secret, alice: Client, sql: Sql, column: str, value: object
) -> None:
    _set(sql, "audit_app_auditevent", column, value, f"object_uuid = '{secret.uuid.hex}'")
    assert {problem.kind for problem in _problems()} & {"inserted", "missing", "truncated"}
    assert _statuses(alice, *LISTS) == dict.fromkeys(LISTS, 200)


@pytest.mark.parametrize(("column", "value"), [("hash", "text"), ("sequence", "abc")])
def test_a_head_that_cannot_be_read_ends_no_verification(
    cast: Cast, secret: Secret, sql: Sql, column: str, value: object
) -> None:
    stream = f"environment:{cast.development.uuid}"
    _set(sql, "audit_app_streamhead", column, value, f"stream = '{stream}'")
    assert [problem for problem in _problems() if stream in problem.object]


@pytest.fixture
def dangling(sql: Sql) -> Iterator[Callable[..., None]]:
    """Point a foreign key at nothing, as SQL can that switches the check of keys off."""
    undo: list[tuple[Any, ...]] = []

    def point(table: str, column: str, pk: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {column} FROM {table} WHERE id = %s", [pk])
            undo.append((f"UPDATE {table} SET {column} = %s WHERE id = %s", cursor.fetchone()[0], pk))
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        sql(f"UPDATE {table} SET {column} = 9999 WHERE id = %s", pk)

    yield point
    for statement in undo:
        sql(*statement)


def test_a_secret_of_no_environment_is_named(
    secret: Secret, alice: Client, dangling: Callable[..., None]
) -> None:
    dangling("secrets_app_secret", "environment_id", secret.pk)
    found = {problem.object.split(" (")[0] for problem in _problems()}
    assert f"secret {secret.pk}" in found
    assert f"version 1 of secret {secret.pk}" in found
    assert _statuses(alice, *LISTS) == dict.fromkeys(LISTS, 200)


def test_a_version_of_no_secret_is_named(secret: Secret, dangling: Callable[..., None]) -> None:
    version = secret.versions.get()
    dangling("secrets_app_secretversion", "secret_id", version.pk)
    assert "version 1 of secret 9999" in {problem.object.split(" (")[0] for problem in _problems()}


def test_a_membership_in_no_environment_is_named(
    cast: Cast, secret: Secret, dangling: Callable[..., None]
) -> None:
    membership = cast.development.memberships.earliest("pk")
    dangling("environments_app_membership", "environment_id", membership.pk)
    assert [p for p in _problems() if p.object.startswith(f"membership {membership.pk} ")]
