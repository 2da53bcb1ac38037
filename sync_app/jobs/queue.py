"""Puts runs in the queue, one active a target, and nudges a worker; the row is the truth."""

from typing import Final

from django.db import IntegrityError, transaction

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.db.prepared import PreparedQuery
from core.workers import nudge
from environments_app.authorization.policy import Principal
from sync_app.errors import RunInProgress, SyncPaused
from sync_app.models import Plan, Run, SyncPause, Target
from sync_app.models.run import WRITING, RunKind, Trigger

EXECUTE: Final = "sync_app.tasks.execute_run"
RUN_DUE: Final = "sync_app.tasks.run_due"


def enqueue(
    *, actor: Principal, target: Target, kind: RunKind, trigger: Trigger, plan: Plan | None = None
) -> Run:
    """Store a run and nudge a worker once it is committed.

    Raises RunInProgress if the target has an active run, SyncPaused if it would write while the
    sync is paused.
    """
    if kind in WRITING:
        require_not_paused(target)
    run = Run(
        target=target,
        plan=plan,
        kind=kind,
        trigger=trigger,
        actor_kind=actor.kind,
        actor_uuid=actor.uuid,
        actor_name=actor.name,
        request_id=actor.request_id,
    )
    try:
        with transaction.atomic():
            run.save(force_insert=True)
            # To apply a plan was recorded where the plan was found to be what the actor saw.
            if actor.kind is not ActorKind.SYSTEM and run.kind != RunKind.APPLY:
                record(
                    actor=actor,
                    action=Action.TARGET_REQUEST,
                    **stream_and_object(run.target),
                    details={"run": str(run.uuid), "kind": str(run.kind), "trigger": str(run.trigger)},
                )
    except IntegrityError as error:
        if not Run.objects.filter(target=target, active=True).exists():
            raise
        raise RunInProgress("this target is being worked on: wait until that run has ended") from error
    transaction.on_commit(lambda: nudge(EXECUTE, run.pk), robust=True)
    return run


_PAUSE: Final = PreparedQuery(lambda: SyncPause.objects.order_by().values_list("pk")[:1])


def is_all_paused() -> bool:
    """Return whether all of the sync is paused."""
    return _PAUSE.first() is not None


def is_paused(target: Target) -> bool:
    """Return whether nothing may be written for a target now."""
    return target.paused_at is not None or target.environment.deleted_at is not None or is_all_paused()


def require_not_paused(target: Target) -> None:
    """Raise SyncPaused if the target, or all of the sync, is paused."""
    if target.environment.deleted_at is not None:
        raise SyncPaused("the environment was deleted")
    if target.paused_at is not None:
        raise SyncPaused("the target is paused: resume it first")
    if is_all_paused():
        raise SyncPaused("syncing is paused: resume it first")
