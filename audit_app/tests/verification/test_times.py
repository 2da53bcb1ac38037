"""The database itself puts a stored time into the form that the hash covers: an edited one never fits."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.utils import timezone

from audit_app.tests.trail import STREAM, sql, write
from audit_app.verification.stream_verifier import verify

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]

WRITTEN = datetime(2026, 11, 24, 22, 5, 7, 120, tzinfo=UTC)
ODD = ["2026-11-24 22:05:07", "2026-11-25", "9999-12-31 23:59:59.999999"]
# What no other database takes.
ODDER = ["", ".", "now", 5, 1.5, b"\xff", "2026-11-24 22:05:07.00012", "2026-11-24 22:05:07.000120+00:00"]


def _write_at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: moment)
        write()


@pytest.mark.parametrize("microsecond", [0, 1, 120, 500_000, 999_999])
def test_a_time_fits_with_and_without_microseconds(monkeypatch: pytest.MonkeyPatch, microsecond: int) -> None:
    _write_at(monkeypatch, WRITTEN.replace(microsecond=microsecond))
    assert list(verify()) == []


@pytest.mark.parametrize("stored", ODD)
def test_another_time_is_named(monkeypatch: pytest.MonkeyPatch, stored: object) -> None:
    _assert_named(monkeypatch, stored)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases refuse these values")
@pytest.mark.parametrize("stored", ODDER)
def test_what_is_no_time_is_named(monkeypatch: pytest.MonkeyPatch, stored: object) -> None:
    _assert_named(monkeypatch, stored)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases refuse these values")
def test_a_time_that_is_not_utf8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _write_at(monkeypatch, WRITTEN)
    sql("UPDATE audit_app_auditevent SET at = CAST(at || x'ff' AS TEXT) WHERE stream = %s", STREAM)
    assert [problem.kind for problem in verify()] == ["edited"]


def _assert_named(monkeypatch: pytest.MonkeyPatch, stored: object) -> None:
    _write_at(monkeypatch, WRITTEN)
    sql("UPDATE audit_app_auditevent SET at = %s WHERE stream = %s", stored, STREAM)
    assert [problem.kind for problem in verify()] == ["edited"]
