"""Sessions with PostgreSQL that give no password away: psycopg with SCRAM demanded and TLS verified.

A server that asks for the password in clear, or for its MD5, is left (libpq, require_auth).
Nothing comes from the environment: no password file, service file or client certificate is read.
"""

import math
import os
import re
import select
import ssl
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import certifi
import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from core.errors import OutboundError
from core.network.limits import Counted, current_limit, limited
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

_CODE: Final = re.compile(rb'^B\t\d+\tErrorResponse\t S ".*?" V "[A-Z]+" C "([0-9A-Z]{5})"', re.MULTILINE)
_WAITS: Final = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}


def refusal_code(conninfo: str) -> str:
    """Return the SQLSTATE with which a server refuses a connection; empty if it gives none.

    Raises DeadlinePassed or AnswerTooLarge.
    """
    limit = current_limit()
    with os.fdopen(os.memfd_create("keeper-postgresql"), "rb") as trace:
        connection = pq.PGconn.connect_start(conninfo.encode())
        try:
            connection.trace(trace.fileno())
            connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            while (wait := _WAITS.get(pq.PollingStatus(connection.connect_poll()))) is not None:
                poll = select.poll()
                poll.register(connection.socket, wait)
                poll.poll(limit.seconds_left() * 1000)
                Counted(connection.socket).refuse_large()
            connection.untrace()
        finally:
            connection.finish()
        trace.seek(0)
        found = _CODE.search(trace.read())
    return found[1].decode() if found else ""


_MODES: Final = {Tls.VERIFY_IDENTITY: "verify-full", Tls.VERIFY_CA: "verify-ca", Tls.OFF: "disable"}
# libpq has no codes for these, which happen before the server's first answer.
_UNTRUSTED: Final = ("certificate", "SSL", "auth method", "authentication method", "SCRAM")
# A closed connection proves nothing about the server.
_LOST: Final = ("SYSCALL", "EOF", "eof", "unexpectedly", "reset by peer")
_BUSY: Final = ("53", "55", "57014", "40")
# None of these is a result for the password.
_KEPT_OUT: Final = {
    "28000": "pg_hba.conf lets nobody in from Keeper's address, or the role has NOLOGIN",
    "3D000": "there is no such database",
    "42501": "the login lacks CONNECT on the database",
}


class _LimitedConnection(psycopg.Connection[Any]):
    """A session whose every wait ends with the request that it serves; libpq reads in C."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Any:
        return _limit_steps(super()._connect_gen(conninfo))

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for the server, within the limits."""
        return super().wait(_limit_steps(gen, self.pgconn.socket), *args, **options)


@contextmanager
def connect(
    endpoint: Endpoint, *, username: str, password: str, seconds: int, database: str
) -> Iterator[psycopg.Connection[Any]]:
    """Log in, and be done in so many seconds altogether.

    Raises CredentialsRejected if the server refuses the password, ServerUntrusted if the server is
    not who it should be, and the errors of `translate_error`, also for the block.
    """
    try:
        with (
            limited(seconds),
            _log_in(endpoint, username=username, password=password, database=database) as connection,
        ):
            yield connection
    except OutboundError as error:
        raise TargetUnreachable(f"{endpoint.host}: {error}") from None
    except psycopg.Error as error:
        raise translate_error(error) from None


def _log_in(endpoint: Endpoint, *, username: str, password: str, database: str) -> psycopg.Connection[Any]:
    addresses = endpoint.addresses()
    with _ca_file(endpoint) as authorities:
        conninfo = make_conninfo(
            host=",".join([endpoint.host] * len(addresses)),
            hostaddr=",".join(addresses),
            port=endpoint.port,
            user=username,
            password=password,
            dbname=database,
            sslmode=_MODES[endpoint.tls],
            sslrootcert=authorities,
            sslcertmode="disable",
            gssencmode="disable",
            require_auth="scram-sha-256",
            passfile="/dev/null",
            # Of each address; the limit bounds them together.
            connect_timeout=math.ceil(current_limit().seconds_left() / len(addresses)),
            application_name="keeper",
            client_encoding="utf8",
            options="",
        )
        try:
            return _LimitedConnection.connect(conninfo, autocommit=True)
        except psycopg.errors.ConnectionTimeout:
            raise TargetUnreachable(f"{endpoint.host} does not answer in time") from None
        except psycopg.Error as error:
            raise _translate_refusal(error, refusal_code(conninfo)) from None


def _limit_steps(steps: Any, descriptor: int | None = None) -> Generator[Any, Any, Any]:
    """Take psycopg's steps, and stop them where the time is over or too much has come.

    Each step returns what it waits for; connecting steps also the descriptor.
    """
    limit = current_limit()
    try:
        asked = next(steps)
        while True:
            limit.seconds_left()
            Counted(asked[0] if descriptor is None else descriptor).refuse_large()
            asked = steps.send((yield asked))
    except StopIteration as end:
        return end.value


def compute_verifier(connection: psycopg.Connection[Any], *, username: str, password: str) -> str:
    """Return the SCRAM verifier of a password, computed here by libpq; the server gets only that."""
    return connection.pgconn.encrypt_password(password.encode(), username.encode(), b"scram-sha-256").decode(
        "ascii"
    )


def translate_error(error: psycopg.Error) -> BackendError:
    """Return what an error means; its own text may quote a statement, and is not repeated."""
    code = error.sqlstate or ""
    if code == "42501":
        return PermissionMissing("the administrator lacks CREATEROLE, or ADMIN OPTION on the login (42501)")
    if code == "42704":
        return LoginMissing("the server does not know the login any more (42704)")
    if code.startswith(_BUSY):
        return TargetBusy(f"the server is busy, or took too long ({code})")
    if not code or code.startswith(("08", "57P", "25P")):
        return TargetUnreachable(f"the connection was lost ({code or 'no answer'}): what it did is not known")
    return RequestRefused(f"the server refused the request ({code})")


def _translate_refusal(error: psycopg.Error, code: str) -> BackendError:
    """Return what it means that no session came about; without a code there was no answer of the server."""
    if not code:
        return _translate_no_answer(str(error))
    if code == "28P01":
        return CredentialsRejected("the server refuses the login (28P01)")
    if code in _KEPT_OUT:
        return RequestRefused(f"{_KEPT_OUT[code]} ({code})")
    if code.startswith((*_BUSY, "57P")):
        return TargetBusy(f"the server is busy, or starting ({code})")
    return RequestRefused(f"the server takes no session ({code})")


def _translate_no_answer(said: str) -> BackendError:
    if any(word in said for word in _LOST):
        return TargetUnreachable("the connection was lost before there was a session")
    if any(word in said for word in _UNTRUSTED):
        return ServerUntrusted(
            "the server did not prove who it is by TLS and SCRAM: check its certificate, host and CA, "
            "and that pg_hba.conf says scram-sha-256"
        )
    return TargetUnreachable("the server does not answer: check host, port and network")


@contextmanager
def _ca_file(endpoint: Endpoint) -> Iterator[str]:
    """Yield the path of the certificates to trust; libpq takes files only, and these are public."""
    if endpoint.tls is Tls.OFF:
        yield ""
    elif not endpoint.ca_certificate:
        yield ssl.get_default_verify_paths().cafile or certifi.where()
    else:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "ca.pem"
            path.write_text(endpoint.ca_certificate)
            yield str(path)
