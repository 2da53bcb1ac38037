"""Probes each system from one worker, in a bounded time, and stores the result.

The event of a change (it fails, it works again) is recorded with the row, and operators are notified. A
single failure is shown without a notification: the second in a row sends one.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces.keyring import keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.db.concurrency import claim, unleased
from environments_app.notifications.service import raise_alert, resolve_alert
from keeper_project.health.probes import QUESTIONS, ProbeResult, Question
from keeper_project.health.remedies import REMEDIES
from keeper_project.models import ExternalSystem, System, SystemState
from secrets_app.keys.wrapping import refuse_in_transaction

KIND: Final = "system.failing"
NEWS_AFTER: Final = 2
# Longer than any question: the claim of a worker that died.
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
        kept = ExternalSystem.objects.filter(pk=row.pk, lease_until=lease).update(
            state=finding.state,
            detail=finding.detail[:300],
            milliseconds=milliseconds,
            failures=failures,
            checked_at=now,
            changed_at=row.changed_at if row.state == finding.state else now,
            lease_until=None,
        )
        if not kept:
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
