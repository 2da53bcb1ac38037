"""Serves Keeper: migrates, initialises, then runs the web server, the read engine and a worker."""

import ipaddress
import os
import sys
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, connections

from core.config.sizes import WEB_THREADS, WORKER_THREADS
from environments_app.errors import InvalidField
from keeper_project import startup
from keeper_project.runtime.database_setup import SetupFailed, initialise, migrate, setup_lock
from keeper_project.runtime.process_reports import deliver, report
from keeper_project.runtime.server import WORKER, engine, web, worker
from keeper_project.runtime.supervisor import Child, Incident, run_apart, supervise
from operations_app.health.service import HealthFailure, broker
from secrets_app.keys.providers.registry import forget_provider
from sync_app.targets import default_targets

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Command(BaseCommand):
    help = "Serve Keeper: web server, read engine and worker; initialises a new installation first."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        startup.add_arguments(parser)
        parser.add_argument("--workers", type=int, default=1, help="processes of the web server (1)")
        parser.add_argument("--no-worker", action="store_true", help="no worker and no scheduled work here")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prepare, serve until stopped, and fail if the web server cannot start."""
        host, port = startup.address(options["host"]), options["port"]
        if options["debug"]:
            _refuse_debug_in_public(loopback=ipaddress.ip_address(host).is_loopback)
        self._prepare()
        if not options["no_worker"]:
            # The supervisor has one thread, and asking takes another.
            run_apart(self._announce_broker)
        children = _children(host, port, options)
        self._announce_address(host, port)
        reason = supervise(children, report=_report)
        if reason:
            raise CommandError(f"{reason} Keeper stopped; see {settings.KEEPER_LOG_FILE}.")

    def _prepare(self) -> None:
        # A missing database is reported here in one line.
        connection.ensure_connection()
        connections.close_all()
        # What migrations load would stay in the memory of every child.
        if run_apart(self._migrate):
            raise CommandError(
                "The database could not be brought up to date; what is printed above says why."
            )
        try:
            with setup_lock(self._say):
                administrator = initialise(announce=self._announce_password)
        except InvalidField as error:
            raise CommandError(f"KEEPER_ADMIN_{error.field.upper()}: {error.reason}") from error
        if administrator:
            self._announce_given_password()
            default_targets.create_missing()
        # No longer needed, and no child may inherit it.
        settings.KEEPER_ADMIN_PASSWORD = ""
        os.environ.pop("KEEPER_ADMIN_PASSWORD", None)
        # Nor are they to share its connections: to the database, and to KMS with the threads that wait there.
        connections.close_all()
        forget_provider()

    def _migrate(self) -> None:
        try:
            migrate(say=self._say)
        except SetupFailed as error:
            sys.exit(str(error))

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def _announce_password(self, username: str, password: str) -> None:
        """Print the password on the terminal: it is in no log, and never shown again."""
        self.stdout.write(f"Sign in as {username}\nPassword, shown once: {password}")

    def _announce_given_password(self) -> None:
        if settings.KEEPER_ADMIN_PASSWORD:
            self.stdout.write(
                f"Sign in as {settings.KEEPER_ADMIN_USERNAME} with the password in KEEPER_ADMIN_PASSWORD"
            )

    def _announce_broker(self) -> None:
        try:
            broker()
        except HealthFailure as failure:
            self._say(f"Background work waits: {failure.detail}. Check REDIS_URL and CELERY_BROKER_URL.")

    def _announce_address(self, host: str, port: int) -> None:
        address = ipaddress.ip_address(host)
        name = "localhost" if address.is_loopback or address.is_unspecified else host
        self.stdout.write(f"Keeper serves http://{name}:{port} (stop it with Ctrl-C)")
        if settings.KEEPER_TLS:
            self.stdout.write(
                "It expects TLS: a proxy in front that ends it (KEEPER_TRUSTED_PROXIES), or KEEPER_TLS=false."
            )
        self.stdout.flush()


def _report(incident: Incident) -> None:
    report(incident)
    if incident.name == WORKER and incident.exit_code is not None:
        deliver()


def _children(host: str, port: int, options: dict[str, Any]) -> list[Child]:
    children = [engine(), web(host=host, port=port, workers=options["workers"], threads=WEB_THREADS)]
    if not options["no_worker"]:
        children.append(worker(threads=WORKER_THREADS, level=settings.KEEPER_LOG_LEVEL))
    return children


def _refuse_debug_in_public(*, loopback: bool) -> None:
    if not loopback or settings.KEY_MANAGEMENT_BACKEND == "kms":
        raise CommandError(
            "--debug shows local variables in error pages: only on 127.0.0.1, with local keys."
        )
    if settings.KEEPER_TRUSTED_PROXIES or not LOOPBACK_HOSTS.issuperset(settings.ALLOWED_HOSTS):
        raise CommandError(
            "--debug is for this machine alone: not with KEEPER_TRUSTED_PROXIES, nor other ALLOWED_HOSTS."
        )
