"""What the states of PostgreSQL mean to a rotation: tried again, or for an operator."""

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from sync_app.errors import (
    BackendError,
    CredentialsRejected,
    LoginMissing,
    PermissionMissing,
    RequestRefused,
    ServerUntrusted,
    TargetBusy,
    TargetUnreachable,
)
from sync_app.rotators.endpoint import Endpoint, Tls
from sync_app.rotators.postgresql import client


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("42501", PermissionMissing),
        ("42704", LoginMissing),
        # Too many connections, lock wait, a statement that was cancelled for its time, a deadlock.
        ("53300", TargetBusy),
        ("55P03", TargetBusy),
        ("57014", TargetBusy),
        ("40P01", TargetBusy),
        # The connection was lost, the session was ended, or was idle in its transaction: what it did is not known.
        ("08006", TargetUnreachable),
        ("57P01", TargetUnreachable),
        ("25P03", TargetUnreachable),
        ("42601", RequestRefused),
    ],
)
def test_a_state_has_one_meaning(state: str, meaning: type[BackendError]) -> None:
    told = client.translate_error(errors.lookup(state)("p4ssword"))
    assert (type(told), "p4ssword" in str(told)) == (meaning, False)


def test_an_error_without_a_state_is_no_answer() -> None:
    assert type(client.translate_error(psycopg.OperationalError("p4ssword"))) is TargetUnreachable


def refused(
    monkeypatch: pytest.MonkeyPatch, error: psycopg.Error, state: str, asked: list[str] | None = None
) -> BackendError:
    """Return what it means that no session came about, for this reason; note how one was asked for."""

    def connect(conninfo: str, **_: object) -> None:
        if asked is not None:
            asked.append(conninfo)
        raise error

    monkeypatch.setattr(client._LimitedConnection, "connect", connect)
    monkeypatch.setattr(client, "refusal_code", lambda _conninfo: state)
    place = Endpoint(host="127.0.0.1", port=5432, tls=Tls.OFF, ca_certificate="")
    with (
        pytest.raises(BackendError) as caught,
        client.connect(place, username="app", password="p4ssword", seconds=5, database="app"),
    ):
        pass
    assert "p4ssword" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("state", "meaning", "told"),
    [
        ("28P01", CredentialsRejected, "refuses the login"),
        # None of these is a result for the password.
        ("28000", RequestRefused, "pg_hba.conf"),
        ("3D000", RequestRefused, "no such database"),
        ("42501", RequestRefused, "lacks CONNECT"),
        ("53300", TargetBusy, "busy, or starting"),
        ("57P03", TargetBusy, "busy, or starting"),
        ("XX000", RequestRefused, "takes no session"),
    ],
)
def test_a_login_is_refused_by_its_password_alone(
    monkeypatch: pytest.MonkeyPatch, state: str, meaning: type[BackendError], told: str
) -> None:
    found = refused(monkeypatch, psycopg.OperationalError("p4ssword"), state)
    assert (type(found), told in str(found)) == (meaning, True)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("SSL error: certificate verify failed", ServerUntrusted),
        ('authentication method requirement "scram-sha-256" failed', ServerUntrusted),
        # The connection ended, of which TLS is told first.
        ("SSL SYSCALL error: EOF detected", TargetUnreachable),
        ("SSL connection has been closed unexpectedly", TargetUnreachable),
        ("connection refused", TargetUnreachable),
    ],
)
def test_without_an_answer_a_lost_line_is_told_from_a_server_that_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, said: str, meaning: type[BackendError]
) -> None:
    assert type(refused(monkeypatch, psycopg.OperationalError(said), "")) is meaning


def test_a_server_that_does_not_answer_in_time_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    found = refused(monkeypatch, errors.ConnectionTimeout("certificate"), "")
    assert (type(found), "in time" in str(found)) == (TargetUnreachable, True)


def test_nothing_of_a_session_is_left_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq takes what is not given from PGOPTIONS, PGPASSFILE and the like."""
    asked: list[str] = []
    refused(monkeypatch, psycopg.OperationalError("refused"), "", asked)
    given = conninfo_to_dict(asked[0])
    strict = {
        "require_auth": "scram-sha-256",
        "sslmode": "disable",
        "sslcertmode": "disable",
        "gssencmode": "disable",
        "passfile": "/dev/null",
        "options": "",
        "client_encoding": "utf8",
    }
    assert {name: given.get(name) for name in strict} == strict
