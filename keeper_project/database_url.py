"""Reads DATABASE_URL, in Django's spelling and in SQLAlchemy's, into Django's settings."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

# Up to 32 MB for each connection: what looks like a leak under load is the trail that fills it.
SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32000;"
# Pool sizes of SQLAlchemy have no counterpart: Django keeps one connection a thread.
IGNORED_OPTIONS = frozenset({"pool_size", "max_overflow", "pool_recycle", "pool_pre_ping", "pool_timeout"})
MYSQL_SCHEMES = frozenset({"mysql", "mariadb"})


class BadDatabaseUrl(ValueError):
    """DATABASE_URL names a database or an option that Keeper does not know."""


def database_settings(url: str, *, base_dir: Path) -> dict[str, Any]:
    """Return Django's DATABASES entry for a URL.

    Understands `sqlite:///relative.db` (relative to `base_dir`), `sqlite:////absolute.db`,
    `mysql://` and `mariadb://`, each also with a SQLAlchemy driver (`mysql+pymysql://`) and
    with SQLAlchemy's pool options, which are accepted and have no effect.

    Raises BadDatabaseUrl if the scheme or an option is unknown; the message never repeats
    the URL, which may hold a password.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    options = {name: value for name, value in parse_qsl(parts.query) if name not in IGNORED_OPTIONS}
    if scheme == "sqlite":
        return _sqlite(parts.path, options, base_dir)
    if scheme in MYSQL_SCHEMES:
        entry = _mysql(options)
        return entry | {
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
        }
    raise BadDatabaseUrl(f"DATABASE_URL: the scheme {scheme!r} is unknown; use sqlite:// or mysql://")


def _sqlite(path: str, options: dict[str, str], base_dir: Path) -> dict[str, Any]:
    _refuse_unknown(options, known=frozenset())
    name = unquote(path.removeprefix("/"))
    return {
        "ENGINE": "audit_app.sqlite3",
        "NAME": ":memory:" if name in {"", ":memory:"} else str(base_dir / name),
        "CONN_MAX_AGE": 60,
        # IMMEDIATE takes the write lock when a transaction begins: one that starts as a
        # read and fails when it first writes cannot be retried by SQLite's own timeout.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": SQLITE_PRAGMAS},
        # Said here since test runners know only Django's own engine to need no file.
        "TEST": {"NAME": ":memory:"},
    }


def _mysql(options: dict[str, str]) -> dict[str, Any]:
    _refuse_unknown(options, known=frozenset({"charset", "ssl_ca", "ssl_mode", "unix_socket"}))
    passed: dict[str, Any] = {
        "charset": "utf8mb4",
        "isolation_level": "read committed",
        "init_command": "SET sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    }
    if "ssl_ca" in options:
        # mysqlclient falls back to plain text under REQUIRED; VERIFY_IDENTITY refuses.
        passed |= {"ssl": {"ca": options["ssl_ca"]}, "ssl_mode": options.get("ssl_mode", "VERIFY_IDENTITY")}
    if "unix_socket" in options:
        passed["unix_socket"] = options["unix_socket"]
    return {
        "ENGINE": "django.db.backends.mysql",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": passed,
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"},
    }


def _refuse_unknown(options: dict[str, str], *, known: frozenset[str]) -> None:
    unknown = sorted(options.keys() - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise BadDatabaseUrl(f"DATABASE_URL: unknown option(s) {', '.join(unknown)}; known: {listed}")
