"""Decrypts every envelope periodically, without returning it, to find damage before readers do.

Each version is held against the digest that the audit log has of it, its value against its fingerprint, and
each secret's row against the newest event about it, so that a row which was put back to an old state
is found. A sweep continues where it stopped: by batches, for a bounded time, in bounded memory.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.integrity.check_registry import Problem, readable
from audit_app.interfaces import keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json
from core.db.concurrency import claim, unleased
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict
from environments_app.notifications.service import raise_alert, resolve_alert
from secrets_app.keys.wrapping import refuse_in_transaction
from secrets_app.maintenance import integrity_checks
from secrets_app.models import SecretVersion
from secrets_app.models.jobs import Sweep

KIND: Final = "integrity-sweep"
# A task works so long, and the next one continues.
_SECONDS: Final = 40.0
_LEASE: Final = timedelta(minutes=5)
_FOUND_KEPT: Final = 100
_LINES_TOLD: Final = 10


def start(*, actor: Principal) -> Sweep:
    """Begin a sweep. Raises Forbidden, or Conflict while one is under way."""
    require(actor=actor, action=Action.INTEGRITY_SWEEP, environment=None)
    return _started(actor)


def go_on(*, seconds: float = _SECONDS) -> Sweep | None:
    """Begin the sweep that is due, or continue the one under way, for a while; return it.

    None if nothing is due, or another worker has it. Raises NetworkInTransaction.
    """
    refuse_in_transaction("a sweep opens values")
    keyring().open_all()
    waiting = Sweep.objects.filter(active=True).first() or _started_if_due()
    now = timezone.now()
    free = Q(active=True) & unleased(now, _LEASE)
    sweep = waiting and claim(Sweep.objects.all(), waiting.pk, free, lease_until=now + _LEASE)
    if sweep is None:
        return None
    ends = time.monotonic() + seconds
    more = True
    while more and time.monotonic() < ends:
        batch = integrity_checks.version_batch(after=sweep.position)
        if batch is not None and batch.silent:
            # A key without an answer is no finding about its values: the next run tries again.
            break
        more = batch is not None
        if batch is not None:
            sweep.position = batch.last
            _keep(sweep, batch.problems, checked=batch.checked)
    if not more:
        _finish(sweep)
    else:
        Sweep.objects.filter(pk=sweep.pk).update(lease_until=None)
    return sweep


def latest() -> Sweep | None:
    """Return the newest sweep, under way or finished."""
    return Sweep.objects.first()


def _started(actor: Actor) -> Sweep:
    try:
        with transaction.atomic():
            sweep = Sweep.objects.create(total=SecretVersion.objects.count(), started_by=actor.name)
            # What follows opens every value: the record of it comes first.
            _record(actor, sweep, Outcome.ALLOWED, {"versions": sweep.total})
    except IntegrityError as error:
        raise Conflict("An integrity check is already running.") from error
    return sweep


def _started_if_due() -> Sweep | None:
    hours = settings.KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS
    newest = latest()
    if hours <= 0 or (newest and newest.started_at > timezone.now() - timedelta(hours=hours)):
        return None
    try:
        return _started(actors.system())
    except Conflict:
        return None


def _finish(sweep: Sweep) -> None:
    rows = chain(integrity_checks.secrets(), integrity_checks.losses())
    _keep(sweep, list(readable(rows, "the rows of secrets")), checked=0)
    now = timezone.now()
    outcome = Outcome.FAILED if sweep.problems else Outcome.ALLOWED
    with transaction.atomic():
        Sweep.objects.filter(pk=sweep.pk).update(active=None, finished_at=now, lease_until=None)
        _record(actors.system(), sweep, outcome, {"checked": sweep.checked, "problems": sweep.problems})
    sweep.refresh_from_db()
    if not sweep.problems:
        resolve_alert(kinds=[KIND], about=deployment_uuid(), subject="all stored values are intact again")
        return
    raise_alert(
        kind=KIND,
        about=deployment_uuid(),
        environment=None,
        subject=f"{sweep.problems} stored values or rows are damaged",
        lines=[str(line) for line in sweep.found[:_LINES_TOLD]],
        link=reverse("integrity"),
    )


def _keep(sweep: Sweep, problems: Iterable[Problem], *, checked: int) -> None:
    found = list(problems)
    for problem in found:
        commit_record(
            actor=actors.system(),
            action=Action.INTEGRITY_VIOLATION,
            stream=streams.SYSTEM,
            object=AuditObject(problem.kind, deployment_uuid(), problem.object[:500]),
            outcome=Outcome.FAILED,
            details={"reason": problem.message[:500], "found_by": "sweep"},
        )
    lines = [f"{problem.object}: {problem.message}" for problem in found]
    sweep.found = [*sweep.found, *lines][:_FOUND_KEPT]
    sweep.checked += checked
    sweep.problems += len(found)
    Sweep.objects.filter(pk=sweep.pk).update(
        position=sweep.position,
        found=sweep.found,
        checked=F("checked") + checked,
        problems=F("problems") + len(found),
        lease_until=timezone.now() + _LEASE,
    )


def _record(actor: Actor, sweep: Sweep, outcome: Outcome, details: dict[str, Json]) -> None:
    record(
        actor=actor,
        action=Action.INTEGRITY_SWEEP,
        stream=streams.SYSTEM,
        object=AuditObject("sweep", sweep.uuid, "every version"),
        outcome=outcome,
        details=details,
    )


def progress(sweep: Sweep) -> int:
    """Return how much of a sweep is done, in percent."""
    return 100 if sweep.finished_at or not sweep.total else min(99, 100 * sweep.checked // sweep.total)


def next_due() -> datetime | None:
    """Return when the next scheduled sweep begins; None if none does."""
    hours, newest = settings.KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS, latest()
    return newest.started_at + timedelta(hours=hours) if hours > 0 and newest else None
