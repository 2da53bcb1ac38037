"""Whether Keeper lives (`/healthz`), whether it can serve (`/readyz`), and the checks of the project.

A check is a callable without arguments that returns, or raises the condition it found.
Both routes are public, so a failure shows its condition and no message of a library.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

from celery import current_app
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import OperationalError

from audit_app.checkpoints import schedule as checkpoints_schedule
from audit_app.integrity.active_installation import is_active
from audit_app.interfaces import keyring
from audit_app.queries import search_index, usage_index
from core.errors import KeeperError, ServiceAway
from core.workers import BoundedCalls
from gateway_app.engine.client import SLOW_SECONDS, read_engine
from operations_app.health.processes import last_beat, process_problems
from operations_app.health.schema import missing_migrations
from operations_app.health.status import SystemStatus, failing_systems
from secrets_app.key_operations.key_check import failing_data_keys, with_unusable_key

logger = logging.getLogger(__name__)

FREE_BYTES: Final = 50 * 1024 * 1024
HEARTBEAT_AGE: Final = timedelta(minutes=3)
# MariaDB: no right to the database, user or password, no such database, and a user without a password.
_REFUSES_US: Final = frozenset({1044, 1045, 1049, 1698})
BROKER_SECONDS: Final = 1.5
NAMED_KEYS: Final = 3
MOST_EVENTS_UNSEARCHED: Final = 5_000
UNAVAILABLE: Final = "unavailable"


class HealthFailure(KeeperError):
    """Something that Keeper needs does not work.

    `detail` is public: the kind of fault, without a name or id of anything that Keeper stores or uses.
    `for_operators` has more.
    """

    def __init__(self, detail: str, *, for_operators: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.for_operators = for_operators or detail


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one check, public and for operators; both are empty on success.

    `condition` is what the check raised: its message is for this machine's terminal, and for no page.
    """

    name: str
    ok: bool
    detail: str = ""
    for_operators: str = ""
    condition: Exception | None = None

    @property
    def shown(self) -> dict[str, str | bool]:
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


Check: TypeAlias = Callable[[], None]
# Anything else that a check raises is a defect of the check and answers as one (500).
CONDITIONS: Final = (KeeperError, DatabaseError, OSError)


def results() -> list[Result]:
    """Run CHECKS, without which Keeper does not serve."""
    return [*map(_find, CHECKS)]


def warnings() -> list[Result]:
    """Run WARNINGS, without which it serves what it can."""
    return [*map(_find, WARNINGS)]


def ailing(checks: Iterable[Result], systems: Iterable[SystemStatus]) -> list[SystemStatus]:
    """Return what is not healthy of this process and of other systems, worst first."""
    failed = [
        SystemStatus(group="", name=capfirst(check.name), state="unhealthy", detail=check.for_operators)
        for check in checks
        if not check.ok
    ]
    return sorted(
        [*failed, *(system for system in systems if system.ails)], key=lambda each: each.state == "unasked"
    )


def probes() -> list[Result]:
    """Run PROBES, which ask outside: never while a page waits."""
    return [*map(_find, PROBES)]


def verdict(serving: Iterable[Result], impaired: Iterable[Result]) -> str:
    """Return what the results mean for the whole: the words of `/readyz` and of `keeper status`."""
    if not all(result.ok for result in serving):
        return UNAVAILABLE
    return "ok" if all(result.ok for result in impaired) else "degraded"


def _find(check: Check) -> Result:
    name = check.__name__.replace("_", " ")
    try:
        check()
    except HealthFailure as failure:
        return Result(name=name, ok=False, detail=failure.detail, for_operators=failure.for_operators)
    except CONDITIONS as condition:
        logger.warning("health check %s failed: %s", name, condition, extra={"cause": condition})
        kind = type(condition).__name__
        return Result(name=name, ok=False, detail=kind, for_operators=kind, condition=condition)
    return Result(name=name, ok=True)


# --- Checks ----------------------------------------------------------------------------------


def database() -> None:
    """Check that the database answers and that its schema is there. Raises django.db.Error if not.

    Raises HealthFailure if the server refuses Keeper.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM audit_app_streamhead WHERE 1 = 0")
    except DatabaseError as error:
        if not _REFUSES_US.intersection(error.args[:1]):
            raise
        refused = "the server refuses the user or password of DATABASE_URL, or has no such database"
        raise HealthFailure(type(error).__name__, for_operators=refused) from error


def schema() -> None:
    """Check that the database has every migration of this release. Raises HealthFailure if it lacks any."""
    if missing := missing_migrations():
        detail = "the database lacks migrations of this release; run keeper init-db"
        raise HealthFailure(detail, for_operators=f"{detail}: {', '.join(missing)}")


def keys() -> None:
    """Check that the system keys are open; opens them in a process that has not yet.

    Raises KeyringUnavailable, with the remedy, if they cannot be opened. Once open they stay open: a
    process is still ready while KMS is unavailable.
    """
    keyring().open_all()


def broker() -> None:
    """Check that the broker takes messages, where there is one; what is due is a row that waits for it.

    Raises HealthFailure if it does not.
    """
    if settings.KEEPER_EMBEDDED_WORKER:
        return
    to_broker = current_app.connection_for_write(connect_timeout=BROKER_SECONDS)
    calls = BoundedCalls(
        "broker's health",
        seconds=BROKER_SECONDS,
        failures=(OperationalError, OSError, *to_broker.channel_errors),
    )
    try:
        calls.run(lambda: _ask(to_broker))
    except ServiceAway as error:
        raise HealthFailure("the broker does not answer") from error
    except calls.failures as error:
        raise HealthFailure(broker_fault(error)) from error


def _ask(to_broker: Connection) -> None:
    with to_broker:
        to_broker.ensure_connection(max_retries=1, interval_start=0)


def broker_fault(error: BaseException) -> str:
    """Return what is wrong with a broker, or with Redis, that failed by an error or its cause."""
    kinds = {type(cause).__name__ for cause in (error, error.__cause__)}
    if kinds & {"AuthenticationError", "AuthenticationWrongNumberOfArgsError"}:
        return "the broker rejects the username or password"
    if kinds & {"NoPermissionError", "AuthorizationError"}:
        return "the broker does not permit its user what Keeper needs"
    return "the broker does not answer"


def recorded_reads() -> None:
    """Check that no read of a value waits too long for the read engine. Raises HealthFailure."""
    if read_engine().stuck_seconds() > SLOW_SECONDS:
        raise HealthFailure("the read engine does not answer; if it stays stuck, it is started again")


def data_directory() -> None:
    """Check that KEEPER_DATA_DIR takes files; not part of readiness, since the database may be elsewhere.

    From a full disk of SQLite is served what needs no write. Raises HealthFailure if it takes none.
    """
    directory = Path(settings.KEEPER_DATA_DIR)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise HealthFailure("the data directory is missing or not writable")
    if shutil.disk_usage(directory).free < FREE_BYTES:
        raise HealthFailure("the disk of the data directory is full, or nearly so")


def data_keys() -> None:
    """Check what the canary last found; not part of readiness, since all but values is served without.

    Raises HealthFailure if data keys did not open.
    """
    keys = list(failing_data_keys().order_by("pk")[: NAMED_KEYS + 1])
    if keys:
        names = ", ".join(str(row.uuid) for row in keys[:NAMED_KEYS])
        more = " and others" if len(keys) > NAMED_KEYS else ""
        raise HealthFailure(
            "data keys do not open; see the Health page and the log",
            for_operators=f"data keys that do not open: {names}{more}; the log says why",
        )


def environment_keys() -> None:
    """Check what the canary last found of the keys that environments name, also before their first data key.

    Raises HealthFailure if one cannot be used.
    """
    names = list(with_unusable_key().values_list("name", flat=True)[: NAMED_KEYS + 1])
    if names:
        more = " and others" if len(names) > NAMED_KEYS else ""
        raise HealthFailure(
            "keys of environments cannot be used; see the Health page",
            for_operators=f"the key cannot be used of: {', '.join(names[:NAMED_KEYS])}{more}",
        )


def checkpoints() -> None:
    """Check that the audit log is signed and its sinks take it; not part of readiness: recording continues.

    Raises HealthFailure if the audit log was refused, is unsigned for long, or a sink is down.
    """
    if problems := checkpoints_schedule.problems():
        raise HealthFailure(problems[0])


def search() -> None:
    """Check that the search of the audit log is nearly complete. Raises HealthFailure if it is far behind."""
    if (behind := search_index.behind()) > MOST_EVENTS_UNSEARCHED:
        raise HealthFailure(f"the search of the audit log is {behind:,} events behind")


def usage() -> None:
    """Check that the uses of values are nearly all counted. Raises HealthFailure if many are not."""
    if (behind := usage_index.behind()) > MOST_EVENTS_UNSEARCHED:
        raise HealthFailure(f"the counts of use are {behind:,} events behind")


def installation() -> None:
    """Check that this is the installation that acts. Raises HealthFailure if it is not."""
    if not is_active():
        raise HealthFailure("this installation is not active: it does not sync or send anything")


def systems() -> None:
    """Check what workers last found of other systems, from rows; Keeper serves what it can without.

    Raises HealthFailure if any failed.
    """
    if names := failing_systems():
        raise HealthFailure(f"{', '.join(names)}: see the Health page")


def processes() -> None:
    """Check that no process of this `keeper run` is away or was restarted lately; pages serve all the same.

    Raises HealthFailure if one is.
    """
    if problems := process_problems():
        raise HealthFailure("; ".join(problems))


def worker() -> None:
    """Check that beat and a worker live; not part of readiness, since pages serve without them.

    Raises HealthFailure if none has worked within HEARTBEAT_AGE.
    """
    beat = last_beat()
    if beat is None or timezone.now() - beat > HEARTBEAT_AGE:
        raise HealthFailure("no worker has run a scheduled task recently")


CHECKS: tuple[Check, ...] = (database, schema, keys, recorded_reads)
# Shown beside them by the probe and the dashboard; Keeper serves what it can without these.
WARNINGS: tuple[Check, ...] = (
    data_directory,
    data_keys,
    environment_keys,
    processes,
    worker,
    checkpoints,
    search,
    usage,
    installation,
    systems,
)
# Warnings that ask outside: for the probe, which has nothing else to do, and never for a page.
PROBES: tuple[Check, ...] = (broker,)


# --- Routes ----------------------------------------------------------------------------------


@login_not_required
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer that the process lives, touching nothing."""
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Answer 503 if Keeper cannot serve, else 200, with what each check found.

    Warnings alone only degrade it: taking a process out of service repairs no key. It is public: it shows
    the kind of a fault, and pages show operators the key or sink.
    """
    failures, impairments = results(), [*warnings(), *probes()]
    status = verdict(failures, impairments)
    body = {"status": status, "checks": [result.shown for result in [*failures, *impairments]]}
    return JsonResponse(body, status=503 if status == UNAVAILABLE else 200)
