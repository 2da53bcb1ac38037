"""Sessions with MySQL and MariaDB that give no password away: PyMySQL, made strict.

A server that wants the password in clear, by the plug-ins mysql_clear_password, dialog,
sha256_password or the old hash, gets none. With TLS there is no way back to plaintext; without it
caching_sha2_password is refused as well, since the key it would encrypt with is the server's own word.
"""

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import pymysql
from pymysql.connections import Connection

from core.errors import OutboundError
from core.network.limits import limited, opened
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
from sync_app.rotators.endpoint import Endpoint

_GIVES_AWAY: Final = ("mysql_clear_password", "dialog", "sha256_password", "mysql_old_password")
# Server error reference of MySQL and MariaDB; 2xxx are the client's.
_REJECTED: Final = {1045, 1698, 1820, 1862, 3118, 3955, 4151}
_BUSY: Final = {1040, 1053, 1203, 1205, 1213, 1226, 1969, 3024}
# Session or statement were ended, or a node of a cluster is not ready: what was done is not known.
_ENDED: Final = {1047, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 3169, 4031}
_UNKNOWN_ADDRESS: Final = {1129, 1130}
_DENIED: Final = {1044, 1142, 1143, 1227, 1370, 1410}
_NO_SUCH_LOGIN: Final = {1396, 1133, 1141}
_PREVENTED: Final = {1290, 1836, 3167}
_TLS: Final = 2026


class _Asked(Exception):
    """The server asked for what a client should not give away."""


class _Refusal:
    """Replaces PyMySQL's answer to a server's request for the password."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection, as PyMySQL hands it."""

    def authenticate(self, packet: Any) -> NoReturn:
        """Give nothing away."""
        raise _Asked

    def prompt(self, echo: object, prompt: bytes) -> NoReturn:
        """Give nothing away."""
        raise _Asked


class _StrictConnection(Connection):  # type: ignore[misc]  # without stubs
    """A connection that judges the server's first words before it answers with a proof."""

    def _get_server_information(self) -> None:
        super()._get_server_information()
        if self._auth_plugin_name in _GIVES_AWAY:
            raise _Asked


@contextmanager
def connect(
    endpoint: Endpoint, *, username: str, password: str, seconds: float, database: str | None = None
) -> Iterator[Connection]:
    """Log in, and be done in so many seconds altogether.

    Raises CredentialsRejected if the server refuses the login, ServerUntrusted if the server is not
    who it should be, and the errors of `translate_error`, also for the block.
    """
    try:
        with limited(seconds), opened(endpoint.addresses(), endpoint.port) as line:
            connection = _StrictConnection(
                host=endpoint.host,
                port=endpoint.port,
                user=username,
                password=password.encode(),
                database=database,
                charset="utf8mb4",
                ssl=endpoint.context(),
                auth_plugin_map=_refusals(endpoint),
                autocommit=True,
                program_name="keeper",
                defer_connect=True,
            )
            _log_in(connection, line)
            try:
                yield connection
            finally:
                connection.close()
    except _Asked:
        raise ServerUntrusted(
            f"{endpoint.host} asks for the password in clear, which Keeper never sends: is it the right "
            "server, does the login authenticate by a password hash, and is TLS on?"
        ) from None
    except OutboundError as error:
        raise TargetUnreachable(f"{endpoint.host}: {error}") from None
    except pymysql.Error as error:
        raise translate_error(error) from None
    except OSError as error:
        raise TargetUnreachable(f"{endpoint.host} does not answer ({type(error).__name__})") from None


def translate_error(error: pymysql.Error) -> BackendError:  # noqa: PLR0911  one return a meaning
    """Return what an error means; its own text may quote a statement, and is not repeated."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        # The connection was closed during the handshake, which proves nothing about the server.
        return TargetUnreachable("the connection was lost before the server had proved who it is")
    if code == _TLS or isinstance(cause, ssl.SSLError):
        return ServerUntrusted("no verified TLS with the server: check its certificate, host and CA")
    if code in _REJECTED:
        return CredentialsRejected(f"the server refuses the login (error {code})")
    if code in _BUSY:
        return TargetBusy(f"the server is busy or took too long (error {code})")
    if code in _UNKNOWN_ADDRESS:
        return RequestRefused(f"the server takes no connections from Keeper's address (error {code})")
    if code in _DENIED:
        return PermissionMissing(
            f"a grant is missing (error {code}): the administrator needs CREATE USER ON *.* and "
            "SELECT ON mysql.*"
        )
    if code in _NO_SUCH_LOGIN:
        return LoginMissing(f"the server does not know the login any more (error {code})")
    if code in _PREVENTED:
        return RequestRefused(
            f"the server's options prevent it (error {code}): a replica is read-only; "
            "strict_password_validation refuses hashes"
        )
    of_client = not 1000 <= code < 2000  # noqa: PLR2004 - the server's own codes
    if code in _ENDED or (of_client and isinstance(error, pymysql.OperationalError | pymysql.InterfaceError)):
        return TargetUnreachable(f"the connection was lost (error {code}): what it did is not known")
    return RequestRefused(f"the server refused the request (error {code})")


def _log_in(connection: Connection, line: socket.socket) -> None:
    try:
        connection.connect(line)
    except (
        *(ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error),
        pymysql.InternalError,
    ):
        # PyMySQL takes a greeting apart without a look at its form, or at no more than its number.
        raise AnswerUnexpected("what answers is no MySQL server: check host and port") from None


def _refusals(endpoint: Endpoint) -> Mapping[Any, Any]:
    names = _GIVES_AWAY if endpoint.context() else (*_GIVES_AWAY, "caching_sha2_password")
    return dict.fromkeys(names, _Refusal)
