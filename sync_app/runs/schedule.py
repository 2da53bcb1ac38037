"""Finds what is due: targets by interval or change, runs that wait or whose worker died."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import BigIntegerField, Case, Q, When

from audit_app.integrity.active_installation import is_active
from core.db.concurrency import retry_collisions
from core.db.prepared import Argument, PreparedQuery
from core.db.statements import have_rows
from core.workers import nudge
from environments_app.errors import AccessError
from secrets_app.rows.references import dependent_environments, queries_for_names
from sync_app.domain.reconciliation import Direction
from sync_app.errors import RunInProgress, SyncError, SyncPaused
from sync_app.jobs.leases import claimable, database_now
from sync_app.jobs.queue import RUN_DUE, enqueue, is_all_paused
from sync_app.models import Run, Target
from sync_app.models.run import RunKind, Trigger
from sync_app.targets.credentials import target_principal

_AT_A_TIME: Final = 200
# So long a busy target is let alone before it is tried again.
_BUSY: Final = timedelta(seconds=5)
# The wait after a pass that failed permanently, such as by a token that ended: it doubles with each failure.
_FIRST_RETRY: Final = timedelta(seconds=30)
_LONGEST_RETRY: Final = timedelta(hours=1)


def queue_due() -> list[int]:
    """Queue a run for each target that is due, and return the ids of all runs that can be worked on.

    None in an installation that is not the active one. Any number of processes may ask at once: a
    target is claimed by a conditional UPDATE.
    """
    if not is_active():
        return []
    now = database_now()
    if not is_all_paused():
        never = Q(due_at__isnull=True, interval_seconds__gt=0)
        targets = Target.objects.filter(
            Q(due_at__lte=now) | never, environment__deleted_at__isnull=True, **_AWAKE
        )
        for target in targets.select_related("environment").order_by("due_at")[:_AT_A_TIME]:
            retry_collisions(partial(_start, target, now))
    runs = Run.objects.filter(
        claimable(now), target__paused_at__isnull=True, target__environment__deleted_at__isnull=True
    )
    # Those whose target answered last come first, and of these what a person waits for.
    ordered = runs.order_by("target__failures", Case(When(trigger=Trigger.PERSON, then=0), default=1), "pk")
    return list(ordered.values_list("pk", flat=True)[:_AT_A_TIME])


def has_failed_last(run_id: int) -> bool:
    """Return whether the target of a run failed when it was asked last."""
    return Run.objects.filter(pk=run_id, target__failures__gt=0).exists()


def schedule_environment(environment_id: int, names: Collection[str]) -> None:
    """Bring the next pass forward of every target that a change of these secrets of an environment concerns.

    Those are the environment's own, and those of the environments where a reference names one of them.
    """
    automatic, *named = have_rows(
        [_AUTOMATIC.statement(environment_id), *queries_for_names(environment_id, names)]
    )
    others = dependent_environments(environment_id, names) if any(named) else set()
    if not others and not automatic:
        return
    now, places = database_now(), {environment_id} | others
    targets = Target.objects.filter(environment_id__in=places, automatic=True, **_AWAKE)
    later = targets.exclude(direction=Direction.PULL).filter(Q(due_at__isnull=True) | Q(due_at__gt=now))
    changed = later.update(due_at=now)
    if changed:
        nudge(RUN_DUE)


_AWAKE: Final = {"live": True, "paused_at__isnull": True}
_AUTOMATIC: Final = PreparedQuery(
    lambda: (
        Target.objects.filter(environment_id=Argument(0, BigIntegerField()), automatic=True, **_AWAKE)
        .order_by()
        .values_list("pk")[:1]
    )
)


def correct_future_due_times() -> None:
    """Bring forward what is due later than one interval from now: the clock was put back."""
    now = database_now()
    later = Target.objects.filter(due_at__gt=now, **_AWAKE)
    for pk, due_at, interval in later.values_list("pk", "due_at", "interval_seconds"):
        if due_at and due_at > now + max(timedelta(seconds=interval), _BUSY):
            Target.objects.filter(pk=pk, due_at=due_at).update(due_at=now)


def retry_at(target: Target) -> datetime | None:
    """Return until when no pass of a target starts automatically: None unless its last pass failed.

    A person's pass and new credentials do not wait for it.
    """
    failed, succeeded = target.last_failure_at, target.last_success_at
    if not target.failures or failed is None or (succeeded is not None and succeeded > failed):
        return None
    return failed + min(_LONGEST_RETRY, _FIRST_RETRY * (1 << min(target.failures - 1, 10)))


def _start(target: Target, now: datetime) -> None:
    """Queue a target's pass, if no other process has just done so."""
    interval = target.interval_seconds
    after = now + timedelta(seconds=interval) if interval else None
    mine = Target.objects.filter(pk=target.pk, due_at=target.due_at, **_AWAKE)
    try:
        actor = target_principal(target)
    except (SyncError, AccessError):
        # A row that Keeper did not write: that was reported.
        mine.update(due_at=after)
        return
    waits = retry_at(target)
    if waits and now < waits:
        mine.update(due_at=waits)
        return
    # In one transaction: a crash between the two would lose the pass.
    with suppress(SyncPaused), transaction.atomic():
        if mine.update(due_at=after):
            kind = RunKind.SYNC if target.automatic else RunKind.CHECK
            try:
                enqueue(actor=actor, target=target, kind=kind, trigger=Trigger.SCHEDULE)
            except RunInProgress:
                # What changed in the meantime may have come too late for the run under way.
                Target.objects.filter(pk=target.pk).update(due_at=now + _BUSY)
