"""Probes of the systems that Keeper needs, from one worker, in a bounded time, with the result stored.

A probe reads no value and changes nothing. What a system answers is never repeated, since it may quote an
address or a password.

The event of a change (it fails, it works again) is recorded with the row, and operators are notified. A
single failure is shown without a notification: the second in a row sends one.
"""

import smtplib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

from django.conf import settings
from django.core.mail import get_connection
from django.db import connection, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.db.concurrency import claim, unleased
from core.network.mail import EmailBackend
from environments_app.errors import SignOnUnavailable
from environments_app.notifications.service import raise_alert, resolve_alert
from environments_app.saml.metadata import metadata_ends
from operations_app.health import service as health
from operations_app.health.service import HealthFailure
from operations_app.health.status import REMEDIES
from operations_app.models import ExternalSystem, System, SystemState
from secrets_app.keys.wrapping import refuse_in_transaction

# No step of asking waits longer; a few of them make up one question.
_STEP_SECONDS: Final = 5
_EXPIRY_NOTICE: Final = timedelta(days=30)
_OFF: Final = "not configured"


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How a system was found; `detail` is for operators and holds words of Keeper's own."""

    state: SystemState
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """How a system is asked, how often, and whether that needs this thread's connection."""

    ask: Callable[[], ProbeResult]
    every: timedelta
    here: bool = False


def database() -> ProbeResult:
    """Ask the database. An error goes through: where it does not answer, nothing can be kept of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return ProbeResult(state=SystemState.OK, detail=connection.display_name)


def broker() -> ProbeResult:
    """Ask the broker whether it takes messages."""
    if settings.KEEPER_EMBEDDED_WORKER:
        return ProbeResult(state=SystemState.OFF, detail="the worker polls the database")
    try:
        health.broker()
    except HealthFailure as failure:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=failure.detail)
    return ProbeResult(state=SystemState.OK)


def redis() -> ProbeResult:
    """Ask the Redis of the cache for a sign of life."""
    if not settings.REDIS_URL:
        return ProbeResult(state=SystemState.OFF, detail=_OFF)
    # Not where there is none: web processes load this module along with the tasks.
    from redis import Redis  # noqa: PLC0415
    from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415

    client = Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=_STEP_SECONDS, socket_timeout=_STEP_SECONDS
    )
    try:
        client.ping()
    except AuthenticationError:
        return ProbeResult(state=SystemState.UNHEALTHY, detail="username or password rejected")
    except (RedisError, OSError) as error:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=f"no answer ({type(error).__name__})")
    finally:
        client.close()
    return ProbeResult(state=SystemState.OK)


def mail() -> ProbeResult:
    """Sign in at the mail server and leave again, without a message."""
    if not settings.EMAIL_HOST:
        return ProbeResult(state=SystemState.OFF, detail=_OFF)
    server = get_connection(timeout=_STEP_SECONDS)
    if not isinstance(server, EmailBackend):
        return ProbeResult(state=SystemState.OFF, detail="no mail server")
    try:
        server.open()
        code = server.alive()
    except smtplib.SMTPAuthenticationError:
        return ProbeResult(state=SystemState.UNHEALTHY, detail="username or password rejected")
    except (smtplib.SMTPException, OSError) as error:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=f"no answer ({type(error).__name__})")
    finally:
        server.close()
    if code != _SMTP_OK:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=f"answered {code} instead of 250")
    return ProbeResult(state=SystemState.OK)


def identity_provider() -> ProbeResult:
    """Fetch the identity provider's metadata and look how long its certificates are good for."""
    if not settings.KEEPER_SAML:
        return ProbeResult(state=SystemState.OFF, detail=_OFF)
    try:
        ends = metadata_ends()
    except SignOnUnavailable as error:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=str(error))
    if ends < timezone.now() + _EXPIRY_NOTICE:
        return ProbeResult(
            state=SystemState.DEGRADED, detail=f"metadata and certificate valid until {ends:%Y-%m-%d}"
        )
    return ProbeResult(state=SystemState.OK, detail=f"metadata and certificate valid until {ends:%Y-%m-%d}")


_SMTP_OK: Final = 250
_OFTEN: Final = timedelta(seconds=45)
_REMOTE_INTERVAL: Final = timedelta(minutes=5)
QUESTIONS: Final[Mapping[System, Question]] = MappingProxyType(
    {
        System.DATABASE: Question(ask=database, every=_OFTEN, here=True),
        System.BROKER: Question(ask=broker, every=_OFTEN),
        System.REDIS: Question(ask=redis, every=_OFTEN),
        System.MAIL: Question(ask=mail, every=_REMOTE_INTERVAL),
        System.IDENTITY_PROVIDER: Question(ask=identity_provider, every=_REMOTE_INTERVAL),
    }
)


KIND: Final = "system.failing"
NEWS_AFTER: Final = 2
_LEASE: Final = timedelta(minutes=2)
_ANSWER_SECONDS: Final = 20.0
_SILENT: Final = "no answer in time"


def check_systems() -> None:
    """Ask every system that is due; any number of workers may call it. Raises NetworkInTransaction."""
    refuse_in_transaction("other systems are asked")
    keyring().open_all()
    for kind, question in QUESTIONS.items():
        check_system(kind, question)


def check_system(kind: System, question: Question) -> bool:
    """Ask one system if that is due and no other worker does; return whether it was asked."""
    row, lease = _claimed(kind, question)
    if row is None:
        return False
    started = time.monotonic()
    finding = question.ask() if question.here else bounded(question)
    _store(row, lease, finding, milliseconds=round((time.monotonic() - started) * 1000))
    return True


def bounded(question: Question, *, seconds: float = _ANSWER_SECONDS) -> ProbeResult:
    """Ask in a thread that is left to itself when its time is over.

    Each step has a deadline of its own, but a name server or a server that sends a byte a second has
    none. The thread ends when its steps do, and shares nothing with this one.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ask")
    try:
        return pool.submit(question.ask).result(timeout=seconds)
    except TimeoutError:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=_SILENT)
    finally:
        pool.shutdown(wait=False)


def _claimed(kind: System, question: Question) -> tuple[ExternalSystem | None, datetime]:
    """Take a system by a conditional UPDATE: of any number of workers one asks it."""
    row, _made = ExternalSystem.objects.get_or_create(kind=kind)
    now = timezone.now()
    lease = now + _LEASE
    # What was found in the future is no reason to wait for it: a clock was put back.
    due = Q(checked_at=None) | Q(checked_at__lte=now - question.every) | Q(checked_at__gt=now)
    free = unleased(now, _LEASE) & due
    return claim(ExternalSystem.objects.all(), row.pk, free, lease_until=lease), lease


def _store(row: ExternalSystem, lease: datetime, finding: ProbeResult, *, milliseconds: int) -> None:
    """Keep what was found, unless another worker has taken over; with it what is news."""
    now = timezone.now()
    ails = finding.state in {SystemState.UNHEALTHY, SystemState.DEGRADED}
    failures = row.failures + 1 if ails else 0
    with transaction.atomic():
        is_stored = ExternalSystem.objects.filter(pk=row.pk, lease_until=lease).update(
            state=finding.state,
            detail=finding.detail[:300],
            milliseconds=milliseconds,
            failures=failures,
            checked_at=now,
            changed_at=row.changed_at if row.state == finding.state else now,
            lease_until=None,
        )
        if not is_stored:
            return
        if failures == NEWS_AFTER or (row.failures >= NEWS_AFTER and not ails):
            _record(row, finding)
    _tell(row, finding, failures)


def _record(row: ExternalSystem, finding: ProbeResult) -> None:
    ails = finding.state in {SystemState.UNHEALTHY, SystemState.DEGRADED}
    record(
        actor=actors.system(),
        action=Action.SYSTEM_CHECK,
        stream=streams.SYSTEM,
        object=AuditObject("system", _about(row), row.get_kind_display()),
        outcome=Outcome.FAILED if ails else Outcome.ALLOWED,
        details={"state": str(finding.state), "reason": finding.detail},
    )


def _tell(row: ExternalSystem, finding: ProbeResult, failures: int) -> None:
    """Notify operators of changes. A repeated call sends nothing twice, so a crash loses no message."""
    name, link = row.get_kind_display(), reverse("health")
    if failures >= NEWS_AFTER:
        raise_alert(
            kind=KIND,
            about=_about(row),
            environment=None,
            subject=f"{name}: {finding.detail}"[:200],
            lines=[REMEDIES[System(row.kind)]],
            link=link,
        )
    elif not failures:
        resolve_alert(kinds=[KIND], about=_about(row), subject=f"{name}: working again", link=link)


def _about(row: ExternalSystem) -> UUID:
    return uuid5(deployment_uuid(), f"system:{row.kind}")
