"""Serves Keeper: migrates, initialises, then runs the web server and a worker."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, connections

from environments_app.errors import InvalidField
from keeper_project.embedded import Child, supervise, web, worker
from keeper_project.health import HealthFailure, broker
from keeper_project.initialise import initialise
from keeper_project.tasks import beat_heartbeat
from sync_app import default_targets

# Measured on two cores: one to eight threads serve the same number of requests, and each more
# than needed lengthens the slowest. One more lets somebody pass who waits for SQLite's lock;
# over a network (a database server, KMS) there is more to wait for.
EMBEDDED_THREADS: Final = 2
NETWORK_THREADS: Final = 4
WORKER_THREADS: Final = 4
GREETING_SECONDS: Final = 60
LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Command(BaseCommand):
    """`keeper run`."""

    help = "Serves Keeper with a web server and a worker; initialises a new installation first."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the address and what to run."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8989, help="port to listen on (8989)")
        parser.add_argument("--workers", type=int, default=1, help="processes of the web server (1)")
        parser.add_argument("--no-worker", action="store_true", help="no worker and no scheduled work here")
        parser.add_argument("--debug", action="store_true", help="DEBUG=true; on this machine's address only")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prepare, serve until stopped, and fail if a child ends by itself."""
        host, port = _address(options["host"]), options["port"]
        loopback = ipaddress.ip_address(host).is_loopback
        if options["debug"]:
            _refuse_debug_in_public(loopback=loopback)
        _refuse_taken_port(host, port)
        environment = _environment(loopback=loopback, debug=options["debug"])
        self._prepare()
        environment["PROMETHEUS_MULTIPROC_DIR"] = _empty_metrics_folder(port)
        if not options["no_worker"]:
            _greet_worker()
        self._announce_address(host, port, tls=_is_on(environment["KEEPER_TLS"]))
        reason = supervise(_children(host, port, options), environment=environment)
        if reason:
            raise CommandError(f"{reason} Keeper stopped; see {settings.KEEPER_LOG_FILE}.")

    def _prepare(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        try:
            made = initialise(announce=self._announce_password)
        except InvalidField as error:
            raise CommandError(f"KEEPER_ADMIN_{error.field.upper()}: {error.reason}") from error
        if made:
            default_targets.create_missing()
        connections.close_all()

    def _announce_password(self, username: str, password: str) -> None:
        """Print the password on the terminal: it is in no log, and never shown again."""
        self.stdout.write(f"First administrator: {username}\nPassword, shown once: {password}")

    def _announce_address(self, host: str, port: int, *, tls: bool) -> None:
        address = ipaddress.ip_address(host)
        name = "localhost" if address.is_loopback or address.is_unspecified else host
        self.stdout.write(f"Keeper serves http://{name}:{port} (stop it with Ctrl-C)")
        if tls:
            self.stdout.write(
                "It expects TLS: a proxy in front that ends it (KEEPER_TRUSTED_PROXIES), or KEEPER_TLS=false."
            )
        self.stdout.flush()


def _empty_metrics_folder(port: int) -> str:
    """Return the folder in which the children's metrics add up; what earlier processes left there is gone."""
    folder = Path(settings.KEEPER_DATA_DIR) / "metrics" / str(port)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()
    return str(folder)


def _greet_worker() -> None:
    """Leave the worker a first task, so that health knows it as soon as it works."""
    try:
        broker()
    except HealthFailure as failure:
        raise CommandError(f"Cannot hand over background work: {failure.detail}.") from failure
    beat_heartbeat.apply_async(expires=GREETING_SECONDS)


def _children(host: str, port: int, options: dict[str, Any]) -> list[Child]:
    children = [web(host=host, port=port, workers=options["workers"], threads=_web_threads())]
    if not options["no_worker"]:
        children.append(worker(threads=WORKER_THREADS, level=settings.KEEPER_LOG_LEVEL))
    return children


def _web_threads() -> int:
    embedded = connection.vendor == "sqlite" and settings.KEY_MANAGEMENT_BACKEND == "local"
    return EMBEDDED_THREADS if embedded else NETWORK_THREADS


def _address(host: str) -> str:
    """Return the numeric address of a host. Raises CommandError if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CommandError(f"--host {host}: this name has no address here.") from error
    # The IPv4 one first: it is what `localhost` means to most.
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])


def _refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error


def _refuse_debug_in_public(*, loopback: bool) -> None:
    if not loopback or settings.KEY_MANAGEMENT_BACKEND == "kms":
        raise CommandError(
            "--debug shows local variables in error pages: only on 127.0.0.1, with local keys."
        )
    if settings.KEEPER_TRUSTED_PROXIES or not LOOPBACK_HOSTS.issuperset(settings.ALLOWED_HOSTS):
        raise CommandError(
            "--debug is for this machine alone: not with KEEPER_TRUSTED_PROXIES, nor other ALLOWED_HOSTS."
        )


def _environment(*, loopback: bool, debug: bool) -> dict[str, str]:
    """Return the variables of the children.

    On the loopback address and without a proxy nobody else is served, so plain HTTP is meant
    unless KEEPER_TLS says otherwise.
    """
    tls = not (loopback and not settings.KEEPER_TRUSTED_PROXIES)
    environment = {
        "KEEPER_TLS": str(tls).lower(),
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
    }
    # Only this process makes the first administrator.
    environment.pop("KEEPER_ADMIN_PASSWORD", None)
    # A program started by its path may be run from anywhere.
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    if debug:
        environment["DEBUG"] = "true"
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _is_on(text: str) -> bool:
    return text.lower() in {"true", "yes", "on", "1"}
