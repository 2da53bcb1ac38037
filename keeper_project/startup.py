"""What is decided before Django loads: where `keeper run` listens, missing packages, renamed variables.

Settings and metrics depend on the address. The renamed variables are those of Keeper's first description
that now have another name, or no meaning. Those that keep their name (SECRET_KEY, DATABASE_URL, KMS_KEY_ID,
…) are declared in keeper_project/settings.
"""

import argparse
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from django.conf import settings

from core.config.database_url import ENCRYPTED_MYSQL_ENGINE, MYSQL_ENGINE
from core.errors import KeeperError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8989


class CannotListen(KeeperError):
    """The host has no address here, or something else listens on the port."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that are looked at before Django loads."""
    parser.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on ({DEFAULT_HOST})")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port to listen on ({DEFAULT_PORT})")
    parser.add_argument("--debug", action="store_true", help="DEBUG=true; on this machine's address only")


def declare(arguments: Sequence[str]) -> int:
    """Pass the options of `keeper run` to the settings, by variables; return the port.

    Raises CannotListen, before anything is loaded or touched.
    """
    parser = argparse.ArgumentParser(prog="keeper run", add_help=False)
    add_arguments(parser)
    asked, _ = parser.parse_known_args(arguments)
    host = address(asked.host)
    refuse_taken(host, asked.port)
    os.environ["KEEPER_LISTEN"] = host
    if asked.debug:
        os.environ["DEBUG"] = "true"
    return int(asked.port)


def share_metrics(port: int) -> None:
    """Make the folder in which the processes of a port add up what they measure, and empty it.

    The Prometheus client looks for its variable when it is loaded, which Django's apps do.
    """
    folder = Path(settings.KEEPER_DATA_DIR) / "metrics" / str(port)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = settings.PROMETHEUS_MULTIPROC_DIR = str(folder)


def address(host: str) -> str:
    """Return the numeric address of a host. Raises CannotListen if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CannotListen(f"--host {host}: this name has no address here.") from error
    # The IPv4 one first: it is what `localhost` means to most.
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])


def refuse_taken(host: str, port: int) -> None:
    """Raise CannotListen if one cannot listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotListen(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error


def serves_this_machine_alone(listen: str, trusted_proxies: Sequence[str]) -> bool:
    """Return whether a server listening there serves only this machine, directly and through proxies.

    Then plain HTTP is the default, unless KEEPER_TLS is set. `listen` is a numeric address, or empty
    where it is not known.
    """
    return bool(listen) and ipaddress.ip_address(listen).is_loopback and not trusted_proxies


def missing(*, database_engine: str, redis_url: str, broker_url: str, traces_url: str) -> Iterator[str]:
    """Yield a sentence for each package that is asked for and not installed."""
    if database_engine in {MYSQL_ENGINE, ENCRYPTED_MYSQL_ENGINE} and not _can_import("MySQLdb"):
        yield (
            "DATABASE_URL names MariaDB or MySQL, which needs mysqlclient: "
            "apt-get install gcc pkg-config libmariadb-dev python3-dev, then "
            "pip install -r requirements.txt."
        )
    if find_spec("redis") is None and any(url.startswith("redis") for url in (redis_url, broker_url)):
        yield (
            "REDIS_URL or CELERY_BROKER_URL names Redis, which needs the package redis: "
            "pip install -r requirements.txt."
        )
    if (
        traces_url
        and find_spec("opentelemetry.sdk" if find_spec("opentelemetry") else "opentelemetry") is None
    ):
        yield "KEEPER_TRACES_URL needs OpenTelemetry: pip install -r requirements-otel.txt."


def _can_import(name: str) -> bool:
    """Return whether a package is installed, and the system's library that it needs."""
    try:
        import_module(name)
    except ImportError:
        return False
    return True


_REPLACED: Final = (
    "SAML has no client secret: Keeper signs with its own key (KEEPER_SAML_KEY_FILE), so it is ignored."
)

RENAMED: Final[Mapping[str, str]] = {
    "FLASK_APP": "Keeper is started by `keeper run`.",
    "FLASK_DEBUG": "Set DEBUG=true instead.",
    "SQLALCHEMY_DATABASE_URI": "Set DATABASE_URL instead; it understands the same URL.",
    "PERMANENT_SESSION_LIFETIME": "Set SESSION_COOKIE_AGE (in seconds) instead.",
    "LOG_LEVEL": "Set KEEPER_LOG_LEVEL instead.",
    "LOG_FILE": "Set KEEPER_LOG_FILE instead.",
    "OKTA_CLIENT_SECRET": _REPLACED,
}

# Settings that were renamed before 0.1.0. Their defaults would apply silently, and some delete more.
OWN_RENAMED: Final[Mapping[str, str]] = {
    "KEEPER_AUDIT_RETENTION": "KEEPER_AUDIT_RETENTION_DAYS",
    "KEEPER_RETENTION_DAYS": "KEEPER_DELETED_RETENTION_DAYS",
    "KEEPER_FRESH_SIGN_IN_SECONDS": "KEEPER_REAUTH_SECONDS",
    "KEEPER_REQUIRE_ADMIN_SECOND_FACTOR": "KEEPER_REQUIRE_ADMIN_MFA",
    "KEEPER_SWEEP_INTERVAL_HOURS": "KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS",
    "KEEPER_SYNC_MACHINE_CREDENTIALS": "KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS",
}


def renamed(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the old and the new name of each variable that is set by its old name, as `NAME_FILE` too."""
    for old, new in OWN_RENAMED.items():
        for suffix in ("", "_FILE"):
            if f"{old}{suffix}" in environment:
                yield f"{old}{suffix}", f"{new}{suffix}"


def okta_metadata_url(*, issuer: str, app: str) -> str:
    """Return where Okta shows the metadata of a SAML app; nothing unless both variables are set.

    OKTA_ISSUER is the organisation's address, OKTA_CLIENT_ID the app's id in that address (exk…).
    """
    return f"{issuer.rstrip('/')}/app/{app}/sso/saml/metadata" if issuer and app else ""


def unread(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each set variable that Keeper does not read, and what to do instead.

    Values never appear: some are credentials.
    """
    for name, advice in RENAMED.items():
        if environment.get(name):
            yield name, advice
    for name, other in (("OKTA_ISSUER", "OKTA_CLIENT_ID"), ("OKTA_CLIENT_ID", "OKTA_ISSUER")):
        if environment.get(name) and not environment.get(other):
            yield (
                name,
                f"It names Okta's metadata only together with {other}; KEEPER_SAML_METADATA_URL does alone.",
            )
    for name, other in (("VAULT_URL", "VAULT_TOKEN"), ("VAULT_TOKEN", "VAULT_URL")):
        if environment.get(name) and not environment.get(other):
            yield name, f"It makes a default target only together with {other}; the page Sync makes others."
    if environment.get("FLASK_ENV", "production") not in {"", "production"}:
        yield "FLASK_ENV", "Set DEBUG=true for development; production needs nothing."
