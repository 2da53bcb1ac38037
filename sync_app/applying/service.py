"""Carries out plans: item by item, intent before act, and nothing where either side moved since."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from django.db.models import BigIntegerField, Count, F, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from core.db.prepared import Argument, PreparedQuery
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import refresh_principal
from environments_app.sessions.service import lock_actor
from sync_app.applying import put_back
from sync_app.applying.batch import Batch
from sync_app.applying.pass_context import ApplyContext
from sync_app.applying.preconditions import TOO_SOON
from sync_app.backends.base import Backend
from sync_app.backends.observations import Observation
from sync_app.domain.reconciliation import Reason
from sync_app.errors import LeaseLost, NotResolvable, PlanNotReady, RetryLater, SyncPaused
from sync_app.jobs.leases import Lease, fenced, raise_if_shutdown_requested
from sync_app.jobs.queue import enqueue, is_paused
from sync_app.jobs.worker_pool import BATCH, RateLimiter, WorkerPool
from sync_app.models import KeptCopy, Plan, PlanItem, Run, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanKind, PlanState
from sync_app.models.run import RunKind, Trigger
from sync_app.planning import staged_choices, stand_ins, sync_entries
from sync_app.planning.draft_items import ConflictChoice
from sync_app.planning.service import ACTING, RIGHTS, new_plan, rules_snapshot
from sync_app.state import deletions
from sync_app.state.local_state import has_selected
from sync_app.targets.approval import (
    APPROVAL,
    load_approval,
    plan_state,
    require_apply_approval,
    require_resolve_approval,
)
from sync_app.targets.credentials import TargetSession, load_run_principal, require_usable
from sync_app.targets.lookup import require_target_access

# Deletions come last, when it is known whether everything before them could be read.
PHASES: Final = ((Act.PULL,), (Act.ADOPT,), (Act.CREATE, Act.UPDATE), (Act.RELEASE,), (Act.DELETE,))
WAITING: Final = (ItemState.PLANNED, ItemState.INTENDED)
_LISTED_FAILURES: Final = 50
NOTHING_DELIVERED: Final = "nothing was delivered"


def request_apply(*, actor: Principal, plan: Plan, choices: Mapping[int, str] | None = None) -> Run:
    """Queue the carrying out of a plan that is ready, with what the actor chose about its conflicts.

    `choices` are `keep_ours` or `take_theirs` by the ids of items; each holds if both sides are as the plan
    showed them. Raises Forbidden or Invisible, NotResolvable, PlanNotReady, RunInProgress, SyncPaused,
    TargetConflict or Tampered, and ApprovalNeeded in a protected environment.
    """
    target = plan.target
    require_target_access(actor=actor, action=RIGHTS[plan.kind], target=target)
    require_usable(target)
    staged = staged_choices.staged_items(plan, choices or {})
    if staged:
        require_target_access(actor=actor, action=Action.TARGET_RESOLVE, target=target)
    _refuse_unready(plan, reopened=bool(staged))
    approval = require_apply_approval(actor, plan, RIGHTS[plan.kind], staged=staged)
    with lock_actor(actor, RIGHTS[plan.kind], target.environment, name=target.scope):
        state = plan_state(plan, staged=staged)
        approved = approval.consume(target.environment, actor=actor, state=state)
        if staged:
            _stage(actor, plan, staged)
        if approved:
            plan.options = {**plan.options, APPROVAL: approved["approval"]}
            plan.save(update_fields=["options"])
        run = enqueue(actor=actor, target=target, kind=RunKind.APPLY, trigger=Trigger.PERSON, plan=plan)
        _record(actor, plan, details={"step": "asked for", **approved})
    return run


def _stage(actor: Principal, plan: Plan, staged: list[PlanItem]) -> None:
    staged_choices.store(plan, staged)
    record(
        actor=actor,
        action=Action.TARGET_RESOLVE,
        **stream_and_object(plan.target),
        details={"plan": str(plan.uuid), "choices": {item.name: str(item.act) for item in staged}},
    )


def request_resolution(*, actor: Principal, item: PlanItem, choice: str) -> Run:
    """Queue the settling of one conflict (or drifted or missing secret) as a person chose.

    `choice` is `keep_ours` or `take_theirs`. Both sides are read again; the choice holds if they
    are as they were when the plan showed them. Raises NotResolvable, Forbidden or Invisible,
    RunInProgress, SyncPaused, TargetConflict or Tampered, and ApprovalNeeded.
    """
    target = item.plan.target
    require_target_access(actor=actor, action=Action.TARGET_RESOLVE, target=target)
    require_usable(target)
    if item.act not in staged_choices.RESOLVABLE or choice not in set(ConflictChoice):
        raise NotResolvable(
            "there is nothing to choose here: keep_ours or take_theirs, for what is in conflict"
        )
    options: dict[str, Json] = {
        "name": item.name,
        "choice": choice,
        "keeper_version": item.keeper_version,
        "target_version": item.target_version,
    }
    approval = require_resolve_approval(actor, item, options)
    with lock_actor(actor, Action.TARGET_RESOLVE, target.environment, name=target.scope):
        approved = approval.consume(target.environment, actor=actor)
        options |= {"approval": approved["approval"]} if approved else {}
        plan = new_plan(actor=actor, target=target, kind=PlanKind.SYNC, options=options)
        run = enqueue(actor=actor, target=target, kind=RunKind.SYNC, trigger=Trigger.PERSON, plan=plan)
        record(
            actor=actor,
            action=Action.TARGET_RESOLVE,
            **stream_and_object(target),
            details={"plan": str(plan.uuid), "name": item.name, "choice": choice, **approved},
        )
    return run


def apply(
    run: Run,
    *,
    session: TargetSession,
    lease: Lease | None = None,
    shown: Mapping[str, Observation] | None = None,
) -> Plan:
    """Carry out the plan of a run, from where another worker may have left it.

    `shown` is what `make_plan` returned, if that came just before.
    Raises RetryLater if items wait for another attempt, SyncPaused, a BackendError that concerns the whole
    target, Forbidden or Invisible, PlanNotReady, TargetConflict or Tampered, KeyUnavailable.
    """
    plan = run.plan
    if plan is None:
        raise PlanNotReady("the run has no plan")
    plan.target = run.target
    actor = load_run_principal(run)
    require_target_access(actor=actor, action=RIGHTS[plan.kind], target=run.target)
    unsettled = put_back.find_unsettled(run.target)
    if unsettled:
        put_back.revert_unsettled(plan, unsettled, backend=session.backend(actor), actor=actor, lease=lease)
    if plan.state == PlanState.DONE:
        return plan
    _refuse_unready(plan)
    backend = session.backend(actor)
    execute_plan(plan, backend=backend, actor=actor, lease=lease, shown=shown or {})
    return plan


def explain_nothing_delivered(plan: Plan) -> str:
    """Return why a plan that was carried out delivered nothing of what it should have; else empty.

    What waits for the time of its next version is no failure.
    """
    rows = PlanItem.objects.filter(plan=plan, act__in=ACTING)
    left = rows.filter(state__in=[ItemState.SKIPPED, ItemState.FAILED]).exclude(error__startswith=TOO_SOON)
    first = left.order_by("name").values_list("name", "error").first()
    if first is None or rows.filter(state=ItemState.DONE).exists():
        return ""
    name, error = first
    others = left.count() - 1
    more = f"; and {others} more" if others else ""
    return f"{NOTHING_DELIVERED}: {name}: {error}{more}"


def execute_plan(
    plan: Plan, *, backend: Backend, actor: Principal, lease: Lease | None, shown: Mapping[str, Observation]
) -> None:
    """Carry out a plan. Raises RetryLater, SyncPaused, a BackendError, and as `load_approval` does."""
    approval = load_approval(actor, plan)
    Plan.objects.filter(pk=plan.pk, state=PlanState.READY).update(state=PlanState.APPLYING)
    plan.state = PlanState.APPLYING
    if lease:
        lease.renew(total=PlanItem.objects.filter(plan=plan, act__in=ACTING).count())
    with WorkerPool() as workers:
        context = ApplyContext(
            plan=plan,
            backend=backend,
            actor=actor,
            lease=lease,
            rate_limiter=RateLimiter(backend.writes_per_second),
            workers=workers,
            approval=approval,
            observations=shown,
        )
        for phase in PHASES:
            if phase == (Act.DELETE,):
                _refuse_deletions(plan)
            _apply_phase(context, phase)
    if _waiting_items(plan).exists():
        raise_if_shutdown_requested()
        raise RetryLater(
            "some items failed in a way that may pass: they are tried again later",
            retry_after=backend.busy_seconds,
        )
    _finish_plan(plan, actor, lease)


def _apply_phase(context: ApplyContext, acts: tuple[Act, ...]) -> None:
    """Work on the waiting items of some acts, a batch at a time, each item once.

    While the target answers to one batch the next one is prepared, and the last one's outcome stored.
    Raises the error of a batch after which no more requests are sent for now (see Batch.gather).
    """
    under_way: Batch | None = None
    batches = _prepare_batches(context, acts)
    while True:
        try:
            batch = next(batches, None)
        except LeaseLost:
            # Another worker is at it: what was not begun is not begun any more.
            raise
        except Exception:
            # Acts in flight have happened: they are stored before the error is raised.
            if under_way is not None:
                under_way.collect()
                under_way.commit()
            raise
        trouble = under_way.collect() if under_way else None
        if batch is not None and trouble is None:
            batch.dispatch()
        if under_way is not None:
            under_way.commit()
        if trouble is not None:
            raise trouble
        if batch is None:
            return
        under_way = batch


def _prepare_batches(context: ApplyContext, acts: tuple[Act, ...]) -> Iterator[Batch]:
    """Yield the waiting items of some acts in batches that are ready to be started."""
    last = 0
    while items := _next_items(acts, BATCH).all(context.plan.pk, last):
        if is_paused(Target.objects.select_related("environment").get(pk=context.plan.target_id)):
            raise SyncPaused("syncing was paused: the remaining changes wait")
        raise_if_shutdown_requested()
        # A plan may be long: who lost the right in the meantime writes no more of it.
        right = RIGHTS[PlanKind(context.plan.kind)]
        require_target_access(
            actor=refresh_principal(context.actor), action=right, target=context.plan.target
        )
        last = items[-1].pk
        batch = Batch(context, items)
        batch.prepare()
        yield batch


@cache
def _next_items(acts: tuple[Act, ...], number: int) -> PreparedQuery[PlanItem]:
    return PreparedQuery(
        lambda: (
            PlanItem.objects.filter(
                plan_id=Argument(0, BigIntegerField()),
                state__in=WAITING,
                act__in=[act for act in acts if act in ACTING],
                pk__gt=Argument(1, BigIntegerField()),
            )
            .exclude(stand_ins.STANDING_IN)
            .order_by("pk")[:number]
        )
    )


def _waiting_items(plan: Plan) -> QuerySet[PlanItem]:
    waiting = PlanItem.objects.filter(plan=plan, state__in=WAITING, act__in=ACTING)
    return waiting.exclude(stand_ins.STANDING_IN)


def _refuse_unready(plan: Plan, *, reopened: bool = False) -> None:
    if not verified_rows([plan]):
        raise PlanNotReady("the plan was changed outside Keeper: refresh it")
    if plan.state == PlanState.MAKING:
        raise PlanNotReady("the plan is not ready yet: wait, then apply it")
    if plan.state not in {PlanState.READY, PlanState.APPLYING} and not reopened:
        raise PlanNotReady(f"the plan is {plan.state}: refresh it")
    if plan.rules != rules_snapshot(plan.target):
        raise PlanNotReady(
            "the target's rules or address changed after the plan was created: refresh the plan"
        )


def _refuse_deletions(plan: Plan) -> None:
    waiting = _waiting_items(plan).filter(act=Act.DELETE)
    if plan.kind != PlanKind.SYNC or not waiting.exists():
        return
    if objection := _explain_no_deletions(plan):
        waiting.update(state=ItemState.SKIPPED, error=objection, finished_at=timezone.now())


def _explain_no_deletions(plan: Plan) -> str:
    """Return why nothing may be deleted, asked again when it is about to be; empty if it may."""
    if PlanItem.objects.filter(plan=plan, reason=Reason.KEEPER_UNREADABLE).exists():
        return Reason.INCOMPLETE
    target = plan.target
    if not has_selected(target):
        return Reason.EMPTY
    deleted = PlanItem.objects.filter(plan=plan, act=Act.DELETE).count()
    owned = sync_entries.count_owned(target, withdrawn_by=plan)
    budget = deletions.load_budget(target, besides=plan)
    if deletions.BEYOND_BUDGET in plan.options or budget.allows(deleted=deleted, owned=owned):
        return ""
    return deletions.explain_excess(budget, deleted=deleted, owned=owned)


def _finish_plan(plan: Plan, actor: Principal, lease: Lease | None) -> None:
    with fenced(lease):
        done = stand_ins.finish_lines(plan)
        if lease and done:
            lease.renew(finished=F("finished") + done)
    rows = PlanItem.objects.filter(plan=plan, act__in=ACTING).values_list("state").annotate(Count("pk"))
    counts = {str(state): number for state, number in rows.order_by("state")}
    failures = PlanItem.objects.filter(plan=plan, state=ItemState.FAILED).values_list("name", "error")
    failed_items: list[Json] = [{"name": name, "error": error} for name, error in failures[:_LISTED_FAILURES]]
    plan.state, plan.finished_at = PlanState.DONE, timezone.now()
    with fenced(lease):
        if plan.kind == PlanKind.DISCONNECT:
            # What is still there as ours keeps its entry.
            left = PlanItem.objects.filter(plan=plan).exclude(state=ItemState.DONE)
            names = list(left.values_list("name", flat=True))
            SyncEntry.objects.filter(target=plan.target).exclude(name__in=names).delete()
            KeptCopy.objects.filter(target=plan.target).delete()
        plan.save(update_fields=["state", "finished_at"])
        details: dict[str, Json] = {"step": "carried out", "counts": {**counts}}
        if failed_items:
            details["failures"] = failed_items
        _record(actor, plan, details=details, failed=bool(failed_items))


def _record(actor: Principal, plan: Plan, *, details: Mapping[str, Json], failed: bool = False) -> None:
    record(
        actor=actor,
        action=Action.TARGET_APPLY,
        **stream_and_object(plan.target),
        outcome=Outcome.FAILED if failed else Outcome.ALLOWED,
        details={"plan": str(plan.uuid), "kind": plan.kind, **details},
    )
