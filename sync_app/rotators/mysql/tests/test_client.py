"""What the error numbers of MySQL and MariaDB mean to a rotation: tried again, or for an operator."""

import socket
import ssl
from collections.abc import Callable

import pymysql
import pytest

from sync_app.errors import (
    AnswerUnexpected,
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
from sync_app.rotators.mysql.client import connect, translate_error
from sync_app.tests.rotators import rogues


@pytest.mark.parametrize(
    ("meaning", "codes"),
    [
        # Wrong password, no password, expired, disconnected for that, locked, locked for a while, locked (MariaDB).
        (CredentialsRejected, [1045, 1698, 1820, 1862, 3118, 3955, 4151]),
        # Too many connections (of all, of the user, of a resource), shutdown, lock wait, deadlock, statement time.
        (TargetBusy, [1040, 1053, 1203, 1205, 1213, 1226, 1969, 3024]),
        # The host is blocked, or is not allowed.
        (RequestRefused, [1129, 1130]),
        (PermissionMissing, [1044, 1142, 1143, 1227, 1370, 1410]),
        (LoginMissing, [1396, 1133, 1141]),
        # --read-only, and a password that is not validated.
        (RequestRefused, [1290, 1836, 3167]),
        # The node is not ready, or the session or statement was ended: what it did is not known.
        (TargetUnreachable, [1047, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 3169, 4031]),
        # Of the client: no connection, gone away, lost.
        (TargetUnreachable, [2002, 2003, 2006, 2013]),
        (ServerUntrusted, [2026]),
        # A statement that the server does not understand.
        (RequestRefused, [1064]),
    ],
)
def test_a_number_has_one_meaning(meaning: type[BackendError], codes: list[int]) -> None:
    for code in codes:
        told = translate_error(pymysql.OperationalError(code, "p4ssword"))
        assert type(told) is meaning, code
        assert "p4ssword" not in str(told)


def test_an_operator_is_told_what_prevents_it() -> None:
    told = {code: str(translate_error(pymysql.OperationalError(code, ""))) for code in (1130, 1290)}
    assert "Keeper's address" in told[1130]
    assert "read-only" in told[1290]


@pytest.mark.parametrize(
    ("cause", "meaning"),
    [
        # A connection that ends proves nothing about the server.
        (ssl.SSLEOFError(), TargetUnreachable),
        (ssl.SSLZeroReturnError(), TargetUnreachable),
        (ssl.SSLCertVerificationError("self-signed"), ServerUntrusted),
    ],
)
def test_a_handshake_that_ended_is_told_from_one_that_failed(
    cause: Exception, meaning: type[BackendError]
) -> None:
    error = pymysql.OperationalError(2003, "no connection")
    error.original_exception = cause
    assert type(translate_error(error)) is meaning


def test_an_error_that_is_no_answer_about_the_statement_is_no_refusal() -> None:
    """Two of one number: the server's refusal of a statement, and what the client makes of one without."""
    assert type(translate_error(pymysql.InterfaceError(0, ""))) is TargetUnreachable
    assert type(translate_error(pymysql.ProgrammingError("no number"))) is RequestRefused


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\x00\x00\x00\x0a8.4\0"])
def test_what_greets_like_no_server_of_mysql_is_told(greeting: bytes) -> None:
    def talk(line: socket.socket, _read: Callable[[], bytes]) -> None:
        line.sendall(greeting)
        line.shutdown(socket.SHUT_WR)

    with rogues.serving(talk) as rogue:
        place = Endpoint(host="127.0.0.1", port=rogue.port, tls=Tls.OFF, ca_certificate="")
        with (
            pytest.raises(AnswerUnexpected, match="no MySQL server") as caught,
            connect(place, username="app", password="p4ssword", seconds=5),
        ):
            pass
    assert "p4ssword" not in str(caught.value)
