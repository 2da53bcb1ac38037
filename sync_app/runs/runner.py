"""Executes runs: claims them, retries transient failures, and stores the target's status."""

import logging
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import uuid4

from django.db import transaction
from django.db.models import BigIntegerField, F, Max, Q

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL
from audit_app.interfaces import KeyringUnavailable
from audit_app.recording.drafts import AuditObject, stream_and_object
from audit_app.recording.recorder import record
from core.db.prepared import Argument, PreparedQuery
from core.network.limits import guarded
from core.workers import nudge
from environments_app.authorization.policy import Principal, require
from environments_app.errors import AccessError, Forbidden, Invisible
from environments_app.sessions.service import lock_actor
from secrets_app.errors import KeyUnavailable, SecretError
from sync_app.applying import pending_versions
from sync_app.applying import service as applying
from sync_app.backends.observations import Observation
from sync_app.domain.delivery_state import WAITING
from sync_app.errors import (
    BackendError,
    LeaseLost,
    NothingDelivered,
    RetryLater,
    ShutdownRequested,
    SyncError,
    SyncPaused,
)
from sync_app.jobs.leases import (
    LONGEST_WAIT,
    Lease,
    claim,
    database_now,
    released_if_lost,
    reserve,
    resume,
    retry_delay,
)
from sync_app.jobs.queue import EXECUTE, enqueue, is_paused
from sync_app.metrics import count_run
from sync_app.models import Plan, Run, SyncEntry, SyncPause, Target
from sync_app.models.plan import Act, PlanKind, PlanState
from sync_app.models.run import WRITING, RunKind, RunState, Trigger
from sync_app.planning import service as planning
from sync_app.targets import alerts, connection_check
from sync_app.targets.approval import refuse_unplanned
from sync_app.targets.credentials import TargetSession, load_run_principal, require_usable
from sync_app.targets.destinations import backend_class
from sync_app.targets.lookup import require_target_access

MAX_ATTEMPTS: Final = 12
_PAUSED_SECONDS: Final = 30
# The wait for the next pass over what was left undelivered: it doubles with each.
_FIRST_LOOK: Final = timedelta(minutes=1)
_LONGEST_LOOK: Final = timedelta(hours=1)
_ERROR_LENGTH: Final = 500
_DIED: Final = "the work ended unexpectedly, time and again: look at the worker's log"
_GONE: Final = "the target or its environment is gone from the database, and Keeper did not remove it"
logger = logging.getLogger(__name__)


def request_sync(*, actor: Principal, target: Target, trigger: Trigger = Trigger.PERSON) -> Run:
    """Queue a pass that plans and carries out what it planned.

    Raises Forbidden or Invisible, RunInProgress, SyncPaused, TargetConflict or Tampered, and Conflict in a
    protected environment, where the plan needs an approval first.
    """
    require_target_access(actor=actor, action=Action.TARGET_APPLY, target=target)
    require_usable(target)
    refuse_unplanned(actor, target)
    return _enqueue(actor, Action.TARGET_APPLY, target, RunKind.SYNC, trigger)


def request_check(*, actor: Principal, target: Target) -> Run:
    """Queue a check of each secret's state, by metadata only. Raises as `request_sync` does."""
    require_target_access(actor=actor, action=Action.TARGET_PLAN, target=target)
    require_usable(target)
    return _enqueue(actor, Action.TARGET_PLAN, target, RunKind.CHECK)


def request_test(*, actor: Principal, target: Target) -> Run:
    """Queue a test of the connection, whose result is the run's; the state of the target stays as it is.

    Raises Forbidden or Invisible, RunInProgress, TargetConflict or Tampered.
    """
    require_target_access(actor=actor, action=Action.TARGET_TEST, target=target)
    require_usable(target)
    return _enqueue(actor, Action.TARGET_TEST, target, RunKind.TEST)


def _enqueue(
    actor: Principal, action: Action, target: Target, kind: RunKind, trigger: Trigger = Trigger.PERSON
) -> Run:
    with lock_actor(actor, action, target.environment, name=target.scope):
        return enqueue(actor=actor, target=target, kind=kind, trigger=trigger)


_RUN: Final = PreparedQuery(
    lambda: (
        Run.objects.select_related("target__environment", "plan")
        .filter(pk=Argument(0, BigIntegerField()))
        .order_by()
    )
)


def execute(run_id: int) -> Run | None:
    """Carry a run out, or carry it on; None if it is done, waits, or another worker has it.

    Never raises for what the target, the keys or the rights refuse: that is the run's outcome.
    """
    with reserve("run", run_id) as is_free:
        return resume(partial(_claim_and_run, run_id)) if is_free else None


def _claim_and_run(run_id: int) -> Run | None:
    lease = claim(run_id, owner=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}")
    if lease is None:
        return None
    run = _RUN.first(run_id)
    if run is None:
        # Only SQL takes them away; the run would be tried for ever.
        lease.end(RunState.FAILED, error=_GONE)
        return None
    try:
        # A worker whose lease ran out, or a run whose time is over, asks the target nothing more.
        with released_if_lost(lease.release), guarded(lease.require_unexpired):
            _test(run, lease) if run.kind == RunKind.TEST else _run_attempt(run, lease)
    except LeaseLost:
        logger.info("run %s is carried on by another worker", run.uuid)
        return _stored(run)
    stored = _stored(run)
    count_run(stored)
    _look_again(stored)
    if stored.kind != RunKind.TEST:
        alerts.update_after_run(stored)
    return stored


def _look_again(run: Run) -> None:
    """Bring the next automatic pass forward where a run left something that only a pass settles."""
    unseen = run.plan is not None and run.plan.counts.get(Act.UNKNOWN)
    if run.active or run.kind not in WRITING or not (run.skipped or unseen):
        return
    waiting = SyncEntry.objects.filter(target=run.target, state__in=sorted(WAITING), undelivered__gt=0)
    passes = waiting.aggregate(most=Max("undelivered"))["most"]
    if passes:
        due = database_now() + min(_FIRST_LOOK * 2 ** min(passes - 1, 10), _LONGEST_LOOK)
        later = Target.objects.filter(pk=run.target_id, automatic=True, live=True)
        later.filter(Q(due_at__isnull=True) | Q(due_at__gt=due)).update(due_at=due)


def _stored(run: Run) -> Run:
    """Return a run as it is stored now. Raises Run.DoesNotExist: only SQL takes runs away."""
    stored = _RUN.first(run.pk)
    if stored is None:
        raise Run.DoesNotExist(f"run {run.uuid} is gone from the database, and Keeper did not remove it")
    return stored


def pause_all(*, actor: Principal) -> None:
    """Pause the sync of every target: nothing is written until it is resumed. Raises Forbidden."""
    _set_all_paused(actor, paused=True)


def resume_all(*, actor: Principal) -> None:
    """Resume the sync; targets that are paused themselves stay so. Raises Forbidden."""
    _set_all_paused(actor, paused=False)


def all_paused() -> SyncPause | None:
    """Return when and by whom all of the sync was paused, if it is."""
    return SyncPause.objects.first()


def _delay(run: Run, error: Exception) -> timedelta:
    asked = timedelta(seconds=getattr(error, "retry_after", 0.0))
    return max(retry_delay(run.attempts), min(asked, LONGEST_WAIT))


def _run_attempt(run: Run, lease: Lease) -> None:
    if run.kind in WRITING and is_paused(run.target):
        _requeue_paused(lease)
        return
    if run.attempts > MAX_ATTEMPTS:
        _handle_failure(run, lease, SyncError(run.error or _DIED), passing=False)
        return
    try:
        notice = _run_kind(run, lease)
    except LeaseLost:
        raise
    except ShutdownRequested:
        lease.release()
        nudge(EXECUTE, run.pk)
    except SyncPaused:
        _requeue_paused(lease)
    except (BackendError, RetryLater, KeyUnavailable, KeyringUnavailable) as error:
        delay = _delay(run, error)
        if getattr(error, "retry_after", 0.0) and not lease.ends_within(delay):
            # A limit is the normal end of a big pass: it continues when the system takes requests again.
            lease.release(not_before=database_now() + delay, error=_explain_error(error))
            return
        again = not getattr(error, "permanent", False) and run.attempts < MAX_ATTEMPTS
        _handle_failure(run, lease, error, passing=again and not lease.ends_within(_delay(run, error)))
    except (SyncError, AccessError, SecretError) as error:
        _handle_failure(run, lease, error, passing=False)
    else:
        now = database_now()
        with transaction.atomic():
            lease.end(RunState.DONE, error=notice)
            Target.objects.filter(pk=run.target_id).update(last_success_at=now, last_error="", failures=0)


def _test(run: Run, lease: Lease) -> None:
    """Test the connection once; what is found ends the run and is no failure of the target."""
    try:
        report = connection_check.test(actor=load_run_principal(run), target=run.target)
    except (SyncError, AccessError, SecretError, KeyUnavailable, KeyringUnavailable) as error:
        lease.end(RunState.FAILED, error=_explain_error(error))
    else:
        state = RunState.DONE if report.ok else RunState.FAILED
        lease.end(state, error=" ".join(report.lines)[:_ERROR_LENGTH])


def _requeue_paused(lease: Lease) -> None:
    """Put a run back that may not write now; however long that takes, it is no attempt that failed."""
    wait = timedelta(seconds=_PAUSED_SECONDS)
    lease.release(not_before=database_now() + wait, error="paused", started_at=None)


def _run_kind(run: Run, lease: Lease) -> str:
    if run.kind == RunKind.CHECK:
        planning.run_check(run, lease=lease)
        return ""
    with TargetSession(run.target) as session:
        shown = {}
        if run.kind != RunKind.APPLY:
            shown = planning.make_plan(run, session=session, lease=lease)
        return _apply_plan(run, session, lease, shown) if run.kind in WRITING else ""


def _apply_plan(run: Run, session: TargetSession, lease: Lease, shown: Mapping[str, Observation]) -> str:
    if run.plan is not None and run.plan.kind == PlanKind.DISCONNECT:
        # Remaining labels would have no owner afterwards: disconnect only after all are removed.
        for error in pending_versions.mirror(run, session=session, lease=lease).values():
            raise error
        applying.apply(run, session=session, lease=lease)
        return ""
    applying.apply(run, session=session, lease=lease, shown=shown)
    left = pending_versions.mirror(run, session=session, lease=lease)
    remark = _follow_up(run, session) or (pending_versions.explain_failures(left) if left else "")
    if run.plan is not None and (undelivered := applying.explain_nothing_delivered(run.plan)):
        raise NothingDelivered(undelivered)
    return remark[:_ERROR_LENGTH]


def _follow_up(run: Run, session: TargetSession) -> str:
    """Do what follows the writes in the target, where its rules ask for that; return why it failed."""
    kind = backend_class(run.target.backend)
    if not kind.acts_after_writes(run.target.destination):
        return ""
    try:
        session.backend(load_run_principal(run)).after_writes()
    except BackendError as error:
        return str(error)
    return ""


def _handle_failure(run: Run, lease: Lease, error: Exception, *, passing: bool) -> None:
    sentence = _explain_error(error)
    now = database_now()
    with transaction.atomic():
        if passing:
            lease.requeue(not_before=now + _delay(run, error), error=sentence)
        else:
            lease.end(RunState.FAILED, error=sentence)
            unfinished = [PlanState.MAKING, PlanState.READY, PlanState.APPLYING]
            if run.plan_id:
                Plan.objects.filter(pk=run.plan_id, state__in=unfinished).update(
                    state=PlanState.FAILED, error=sentence, finished_at=database_now()
                )
        target = Target.objects.filter(pk=run.target_id)
        target.update(last_failure_at=now, last_error=sentence, failures=F("failures") + 1)
        if not passing:
            _record_failure(run, sentence)


def _record_failure(run: Run, sentence: str) -> None:
    record(
        actor=run.actor,
        action=Action.TARGET_APPLY if run.kind in WRITING else Action.TARGET_PLAN,
        **stream_and_object(run.target),
        outcome=Outcome.FAILED,
        details={"run": str(run.uuid), "kind": run.kind, "error": sentence},
    )


def _explain_error(error: Exception) -> str:
    if isinstance(error, Forbidden | Invisible):
        return "the user who started this run no longer has permission"
    return str(error)[:_ERROR_LENGTH]


def _set_all_paused(actor: Principal, *, paused: bool) -> None:
    require(actor=actor, action=Action.TARGET_PAUSE, environment=None)
    with lock_actor(actor, Action.TARGET_PAUSE):
        if paused:
            SyncPause.objects.get_or_create(pk=1, defaults={"paused_by": actor.name})
        else:
            SyncPause.objects.all().delete()
        record(
            actor=actor,
            action=Action.TARGET_PAUSE,
            stream=streams.SYSTEM,
            object=AuditObject("deployment", NIL, "sync"),
            details={"paused": paused},
        )
