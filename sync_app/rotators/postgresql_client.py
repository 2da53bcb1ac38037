"""Sessions with PostgreSQL that give no password away: psycopg with SCRAM demanded and TLS verified.

A server that asks for the password in clear, or for its MD5, is left (libpq, require_auth).
Nothing comes from the environment: no password file, service file or client certificate is read.
"""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import certifi
import psycopg
from psycopg.conninfo import make_conninfo

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
from sync_app.rotators.endpoint import Endpoint, Tls, cut_after
from sync_app.rotators.postgresql_refusals import refusal_code

_MODES: Final = {Tls.VERIFY_IDENTITY: "verify-full", Tls.VERIFY_CA: "verify-ca", Tls.OFF: "disable"}
# libpq has no codes for these, which happen before the server says anything.
_UNTRUSTED: Final = ("certificate", "SSL", "auth method", "authentication method", "SCRAM")
# A line that was cut says nothing about who is there.
_LOST: Final = ("SYSCALL", "EOF", "eof", "unexpectedly", "reset by peer")
_BUSY: Final = ("53", "55", "57014", "40")
# None of these says anything about the password.
_KEPT_OUT: Final = {
    "28000": "pg_hba.conf lets nobody in from Keeper's address, or the role has NOLOGIN",
    "3D000": "there is no such database",
    "42501": "the login lacks CONNECT on the database",
}


@contextmanager
def connected(
    endpoint: Endpoint, *, username: str, password: str, seconds: int, database: str
) -> Iterator[psycopg.Connection[Any]]:
    """Log in, and be done in so many seconds after that.

    Raises CredentialsRejected if the server refuses the password, ServerUntrusted if the server is
    not who it should be, and what `translated` says, also for what the block does.
    """
    addresses = endpoint.addresses()
    with _authorities(endpoint) as authorities:
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
            connect_timeout=seconds,
            application_name="keeper",
            client_encoding="utf8",
            options="",
        )
        try:
            connection = psycopg.connect(conninfo, autocommit=True)
        except psycopg.errors.ConnectionTimeout:
            raise TargetUnreachable(f"{endpoint.host} does not answer in time") from None
        except psycopg.Error as error:
            raise _refused(error, refusal_code(conninfo, seconds=seconds)) from None
    try:
        with connection, cut_after(connection.fileno(), seconds):
            yield connection
    except psycopg.Error as error:
        raise translated(error) from None


def verifier(connection: psycopg.Connection[Any], *, username: str, password: str) -> str:
    """Return the SCRAM verifier of a password, computed here by libpq; the server gets only that."""
    return connection.pgconn.encrypt_password(password.encode(), username.encode(), b"scram-sha-256").decode(
        "ascii"
    )


def translated(error: psycopg.Error) -> BackendError:
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


def _refused(error: psycopg.Error, code: str) -> BackendError:
    """Return what it means that no session came about; without a code, the server said nothing itself."""
    if not code:
        return _unanswered(str(error))
    if code == "28P01":
        return CredentialsRejected("the server refuses the login (28P01)")
    if code in _KEPT_OUT:
        return RequestRefused(f"{_KEPT_OUT[code]} ({code})")
    if code.startswith((*_BUSY, "57P")):
        return TargetBusy(f"the server is busy, or starting ({code})")
    return RequestRefused(f"the server takes no session ({code})")


def _unanswered(said: str) -> BackendError:
    if any(word in said for word in _LOST):
        return TargetUnreachable("the connection was lost before there was a session")
    if any(word in said for word in _UNTRUSTED):
        return ServerUntrusted(
            "the server did not prove who it is by TLS and SCRAM: check its certificate, host and CA, "
            "and that pg_hba.conf says scram-sha-256"
        )
    return TargetUnreachable("the server does not answer: check host, port and network")


@contextmanager
def _authorities(endpoint: Endpoint) -> Iterator[str]:
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
