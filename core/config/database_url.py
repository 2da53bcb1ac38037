"""Reads DATABASE_URL, in Django's spelling and in SQLAlchemy's, into Django's settings."""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from core.config.sizes import SQLITE_CACHE_KB

SQLITE_PRAGMAS = f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-{SQLITE_CACHE_KB};"
# Pool sizes of SQLAlchemy have no counterpart: Django keeps one connection a thread.
IGNORED_OPTIONS = frozenset({"pool_size", "max_overflow", "pool_recycle", "pool_pre_ping", "pool_timeout"})
MYSQL_SCHEMES = frozenset({"mysql", "mariadb"})
MYSQL_ENGINE: Final = "core.db.mariadb"
# Checks after connecting that the connection is encrypted.
ENCRYPTED_MYSQL_ENGINE: Final = "core.db.mariadb_tls"
_CHARSET: Final = "utf8mb4"
# Each file by the name that mysqlclient gives it.
_TLS_FILES: Final = {"ssl_ca": "ca", "ssl_cert": "cert", "ssl_key": "key"}
_VERIFYING: Final = frozenset({"VERIFY_CA", "VERIFY_IDENTITY"})
_MODES: Final = frozenset({"DISABLED", "REQUIRED", *_VERIFYING})
_NOT_ENCODED: Final = (
    "the host or the port cannot be read. Percent-encode / ? # @ : [ ] in names and in the password: "
    "/ is %2F, ? is %3F, # is %23, @ is %40"
)
_MYSQL_OPTIONS: Final = frozenset({"charset", "ssl_mode", "unix_socket", "wsrep_sync_wait", *_TLS_FILES})


class BadDatabaseUrl(ImproperlyConfigured):
    """DATABASE_URL names a database or an option that Keeper does not know."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"DATABASE_URL: {reason}")


def database_settings(url: str, *, base_dir: Path) -> dict[str, Any]:
    """Return Django's DATABASES entry for a URL.

    Understands `sqlite:///relative.db` (relative to `base_dir`), `sqlite:////absolute.db`,
    `mysql://` and `mariadb://`, each also with a SQLAlchemy driver (`mysql+pymysql://`) and
    with SQLAlchemy's pool options, which are accepted and have no effect. A host of MySQL is
    reached by TCP, `localhost` included; `unix_socket=` names a socket. Several hosts of one database are
    separated by commas, and each connection takes the first one that works (`core.db.mariadb`).

    Raises BadDatabaseUrl if the scheme or an option is unknown, or if options contradict each
    other; the message never repeats the URL, which may hold a password.
    """
    url, others = _first_host(url)
    parts, port = _split(url)
    options = _options(parts.query)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return _sqlite(parts, options, base_dir)
    if scheme in MYSQL_SCHEMES:
        return _mysql(parts, port, options, others)
    raise BadDatabaseUrl(f"the scheme {scheme!r} is unknown; use sqlite:// or mysql://")


def _first_host(url: str) -> tuple[str, list[str]]:
    """Return a URL with the first one of its hosts, and the others."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    account, at, hosts = authority.rpartition("@")
    first, *others = hosts.split(",")
    return f"{scheme}{separator}{account}{at}{first}{slash}{path}", others


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Return the parts of a URL and its port. Raises BadDatabaseUrl if a password hides where they are."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Its text repeats what it takes for the host or the port: a part of the password.
        raise BadDatabaseUrl(_NOT_ENCODED) from None
    rest = parts.query if parts.scheme == "sqlite" else f"{parts.path}{parts.query}"
    if parts.fragment or "@" in rest:
        raise BadDatabaseUrl(_NOT_ENCODED)
    return parts, port


def _options(query: str) -> dict[str, str]:
    """Return the options that have an effect. Raises BadDatabaseUrl for an empty or repeated one."""
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs):
        twice = sorted(name for name in options if [each for each, _ in pairs].count(name) > 1)
        raise BadDatabaseUrl(f"{', '.join(twice)}: give the option once")
    if empty := sorted(name for name, value in pairs if not value):
        raise BadDatabaseUrl(f"{', '.join(empty)}: the option has no value")
    return {name: value for name, value in pairs if name not in IGNORED_OPTIONS}


def _sqlite(parts: SplitResult, options: Mapping[str, str], base_dir: Path) -> dict[str, Any]:
    _refuse_unknown(options, known=frozenset())
    if parts.netloc:
        raise BadDatabaseUrl("SQLite has no host: write sqlite:///FILE, with three slashes or more")
    name = unquote(parts.path.removeprefix("/"))
    return {
        "ENGINE": "core.db.sqlite3",
        "NAME": ":memory:" if name in {"", ":memory:"} else str(base_dir / name),
        "CONN_MAX_AGE": 60,
        # IMMEDIATE takes the write lock when a transaction begins: one that starts as a
        # read and fails when it first writes cannot be retried by SQLite's own timeout.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": SQLITE_PRAGMAS},
    }


def _mysql(
    parts: SplitResult, port: int | None, options: Mapping[str, str], others: Sequence[str]
) -> dict[str, Any]:
    _refuse_unknown(options, known=_MYSQL_OPTIONS)
    if options.get("charset", _CHARSET) != _CHARSET:
        raise BadDatabaseUrl(f"charset: only {_CHARSET} holds every character of a secret")
    tls = _tls(options)
    wait = options.get("wsrep_sync_wait", "1")
    if wait not in {"0", "1"}:
        raise BadDatabaseUrl("wsrep_sync_wait: choose 1, or 0 where all processes use one node")
    first = _address(parts.hostname or "localhost", port, options)
    # In the order in which they are tried; Django knows of the first one.
    hosts = [(first["HOST"], first["PORT"]), *(_other_address(each, options) for each in others)]
    return {
        "ENGINE": ENCRYPTED_MYSQL_ENGINE if tls.get("ssl_mode") == "REQUIRED" else MYSQL_ENGINE,
        "NAME": _database_name(parts.path),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        **first,
        "SYNC_WAIT": int(wait),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "charset": _CHARSET,
            "isolation_level": "read committed",
            "init_command": "SET sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
            **tls,
        },
        "TEST": {"CHARSET": _CHARSET, "COLLATION": "utf8mb4_unicode_ci"},
        **({"HOSTS": hosts} if others else {}),
    }


def _database_name(path: str) -> str:
    name = path.removeprefix("/")
    if not name or "/" in name:
        raise BadDatabaseUrl(
            "the path has to be the name of one database, as in mysql://USER:PASSWORD@HOST/NAME"
        )
    return unquote(name)


def _address(host: str, port: int | None, options: Mapping[str, str]) -> dict[str, str]:
    """Return HOST and PORT. Raises BadDatabaseUrl for a socket beside what only TCP has."""
    socket = options.get("unix_socket")
    if socket is None:
        # MySQL's client library takes the word `localhost` for its default socket, whatever the port.
        return {"HOST": "127.0.0.1" if host == "localhost" else host, "PORT": str(port or "")}
    if host != "localhost" or port:
        raise BadDatabaseUrl("unix_socket: a socket has no host and no port; leave them out")
    if not socket.startswith("/"):
        raise BadDatabaseUrl("unix_socket: give the absolute path of the socket")
    if options.get("ssl_mode", "DISABLED") != "DISABLED" or options.keys() & _TLS_FILES.keys():
        raise BadDatabaseUrl("unix_socket: a socket does not leave the machine and takes no ssl_ option")
    return {"HOST": socket, "PORT": ""}


def _other_address(text: str, options: Mapping[str, str]) -> tuple[str, str]:
    """Return host and port of one more host. Raises BadDatabaseUrl if it has none."""
    parts, port = _split(f"mysql://{text}")
    if not parts.hostname or parts.path or parts.query or "unix_socket" in options:
        raise BadDatabaseUrl("several hosts are written as HOST:PORT,HOST:PORT; a socket has no others")
    address = _address(parts.hostname, port, options)
    return address["HOST"], address["PORT"]


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    """Return what mysqlclient is given for TLS; nothing if the URL asks for none.

    Without a mode, an ssl_ file asks for the strictest one. MariaDB's client library sends PREFERRED in
    plain text, and checks the certificate of a loopback address only against authorities that it is given:
    PREFERRED is refused, and the system's authorities are passed if the URL names none.
    """
    files = {passed: options[name] for name, passed in _TLS_FILES.items() if name in options}
    mode = options.get("ssl_mode", "VERIFY_IDENTITY" if files else "DISABLED")
    if mode not in _MODES:
        raise BadDatabaseUrl(f"ssl_mode: choose one of {', '.join(sorted(_MODES))}")
    if ("cert" in files) != ("key" in files):
        raise BadDatabaseUrl("ssl_cert, ssl_key: give both or none")
    if mode not in _VERIFYING and files:
        raise BadDatabaseUrl(
            f"ssl_ca, ssl_cert, ssl_key: they need ssl_mode {' or '.join(sorted(_VERIFYING))}"
        )
    if mode in _VERIFYING:
        authorities = {} if "ca" in files else _system_authorities()
        return {"ssl_mode": mode, "ssl": files | authorities}
    return {"ssl_mode": mode} if "ssl_mode" in options else {}


def _system_authorities() -> dict[str, str]:
    """Return where this machine keeps the certificate authorities that it trusts."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return {"ca": paths.cafile}
    if paths.capath:
        return {"capath": paths.capath}
    raise BadDatabaseUrl("ssl_mode: this machine has no store of certificate authorities; give ssl_ca")


def _refuse_unknown(options: Mapping[str, str], *, known: frozenset[str]) -> None:
    unknown = sorted(options.keys() - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise BadDatabaseUrl(f"unknown option(s) {', '.join(unknown)}; known: {listed}")
