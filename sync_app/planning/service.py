"""Makes plans: looks at both sides, decides, and stores what would be done. Nothing is changed anywhere."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json, parsed_details
from core.clock import is_in
from core.db.bulk import in_batches, insert_rows
from environments_app.authorization.policy import Principal
from environments_app.sessions.service import lock_actor
from secrets_app.models import Secret
from secrets_app.values.names import MAX_NAME_LENGTH
from sync_app.backends.base import Backend
from sync_app.backends.observations import Observation, SecretMetadata
from sync_app.backends.registry import BACKENDS
from sync_app.domain.reconciliation import Ownership, Presence
from sync_app.errors import BackendError, PlanNotReady
from sync_app.jobs.leases import Lease, fenced
from sync_app.jobs.queue import enqueue
from sync_app.jobs.worker_pool import no_heartbeat, run_each
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanKind, PlanState
from sync_app.models.run import RunKind, Trigger
from sync_app.planning import draft_items, stand_ins, sync_entries
from sync_app.planning.discovery import compare_values, discover, discover_names, needs_value
from sync_app.planning.draft_items import (
    AdoptMode,
    ConflictChoice,
    DisconnectMode,
    PlanItemDraft,
    plan_sync,
    refuse_references,
)
from sync_app.planning.write_recovery import claimed_base, recover_unacknowledged_writes
from sync_app.state.deletions import BEYOND_BUDGET
from sync_app.state.local_state import is_in_scope
from sync_app.state.open_values import ValueMatcher, open_versions
from sync_app.state.value_forms import explain_refusal
from sync_app.targets import connection_check
from sync_app.targets.credentials import (
    REPEATED,
    TargetSession,
    is_empty_pass,
    last_recorded,
    load_run_principal,
    open_backend,
    require_usable,
)
from sync_app.targets.lookup import require_target_access


def run_check(run: Run, *, lease: Lease | None = None) -> dict[str, int]:
    """Store the state of each secret; return the number in each state.

    Raises a BackendError if the target cannot be listed to its end, Forbidden or Invisible,
    TargetConflict or Tampered, KeyUnavailable.
    """
    actor = load_run_principal(run)
    require_target_access(actor=actor, action=Action.TARGET_PLAN, target=run.target)
    with open_backend(actor=actor, target=run.target) as backend:
        return refresh_states(run.target, backend=backend, lease=lease)


def refresh_states(target: Target, *, backend: Backend, lease: Lease | None = None) -> dict[str, int]:
    """Store the state of each secret of a target, read by this backend; return the number in each state."""
    findings = discover(target, backend, heartbeat=lease.heartbeat_or_stop if lease else no_heartbeat)
    drafts = plan_sync(target, findings)
    refuse_references(target, drafts)
    draft_items.refuse_same_names(target, backend, drafts)
    # If only the values, or the next pass, can decide, the last pass's result is kept.
    decided = [
        draft
        for draft in drafts
        if not (
            claimed_base(target, draft.finding) is not None
            or (draft.finding.base is None and needs_value(target, draft.finding))
        )
    ]
    sync_entries.record_states(target, decided, lease=lease, forget=True)
    with fenced(lease):
        stand_ins.refresh_entries(target, drafts)
    sync_entries.note_check(target)
    return dict(sorted(Counter(str(sync_entries.state_after(draft)) for draft in drafts).items()))


# What a plan does to either side.
ACTING: Final = frozenset({Act.CREATE, Act.UPDATE, Act.DELETE, Act.PULL, Act.ADOPT, Act.RELEASE})
RIGHTS: Final[dict[str, Action]] = {
    PlanKind.SYNC: Action.TARGET_APPLY,
    PlanKind.ADOPT: Action.TARGET_ADOPT,
    PlanKind.DISCONNECT: Action.TARGET_REMOVE,
}
# Of secrets that are none of Keeper's business, so many are listed; all are counted.
MAX_UNMANAGED: Final = 1000
MAX_NAMES: Final = 1000
# The columns that making a plan sets. The request was sealed when it was stored, and is not sealed again.
_MADE: Final = ["state", "ready_at", "finished_at", "counts", "rules", "keeper_complete", "target_complete"]
_REASON_LENGTH: Final = 200
# Of a destination's fields: how long a deletion can be taken back, and by which key a value is sealed.
_CARRIED_OUT_BY: Final = ("recovery_window_days", "kms_key_id")


def request_plan(
    *,
    actor: Principal,
    target: Target,
    kind: PlanKind = PlanKind.SYNC,
    options: Mapping[str, Json] | None = None,
) -> Run:
    """Queue the making of a plan; the run that is returned names it.

    Options: to sync, `beyond_budget` (True) to delete more than the budget allows; to adopt, `names` (at most
    1,000) and `mode` (an AdoptMode); to disconnect, `mode` (a DisconnectMode). Raises Forbidden or Invisible,
    PlanNotReady if the options are not those of the kind, RunInProgress, TargetConflict or Tampered.
    """
    right = Action.TARGET_PLAN if kind is PlanKind.SYNC else RIGHTS[kind]
    require_target_access(actor=actor, action=right, target=target)
    require_usable(target)
    with lock_actor(actor, right, target.environment, name=target.scope):
        plan = new_plan(actor=actor, target=target, kind=kind, options=_clean_options(kind, options or {}))
        return enqueue(actor=actor, target=target, kind=RunKind.PLAN, trigger=Trigger.PERSON, plan=plan)


def request_confirmation(*, actor: Principal, target: Target, system: str) -> Run:
    """Bind a target to the rebuilt system that answers, and queue a plan; raises as both use cases do."""
    target = connection_check.confirm_system(actor=actor, target=target, system=system)
    return request_plan(actor=actor, target=target)


def request_repeat(*, actor: Principal, plan: Plan) -> Run:
    """Queue the making of a plan like an earlier one: of its kind, for what was asked then.

    A choice about one secret is not made again: that is an ordinary plan. Raises PlanNotReady if the
    plan's row was changed outside Keeper, and as `request_plan` does.
    """
    if not verified_rows([plan]):
        raise PlanNotReady("the plan was changed outside Keeper: create a new one on the target's page")
    return request_plan(actor=actor, target=plan.target, kind=PlanKind(plan.kind), options=plan.options)


def new_plan(*, actor: Principal, target: Target, kind: PlanKind, options: Mapping[str, Json]) -> Plan:
    """Store a plan that is still to be made."""
    return Plan.objects.create(
        target=target,
        kind=kind,
        options=dict(options),
        made_by=actor.name,
        made_by_kind=actor.kind,
        made_by_uuid=actor.uuid,
    )


def make_plan(run: Run, *, session: TargetSession, lease: Lease | None = None) -> dict[str, Observation]:
    """Make the plan of a run; that of a scheduled run is stored first. Return what `build_plan` returns.

    Raises a BackendError if a side cannot be listed to its end, Forbidden or Invisible if the user who
    started the run lost the right, TargetConflict or Tampered, KeyUnavailable.
    """
    actor = load_run_principal(run)
    if run.plan is None:
        # An overtaken worker would replace the plan at work by an empty one.
        with fenced(lease):
            run.plan = new_plan(actor=actor, target=run.target, kind=PlanKind.SYNC, options={})
            run.save(update_fields=["plan"])
    plan = run.plan
    right = Action.TARGET_PLAN if plan.kind == PlanKind.SYNC else RIGHTS[plan.kind]
    require_target_access(actor=actor, action=right, target=run.target)
    if plan.state != PlanState.MAKING:
        return {}
    return build_plan(plan, backend=session.backend(actor), actor=actor, lease=lease)


def build_plan(
    plan: Plan, *, backend: Backend, actor: Principal, lease: Lease | None = None
) -> dict[str, Observation]:
    """Look at both sides of the plan's target by this backend, decide, and store the plan.

    Return the observed state of the secrets to overwrite, as of the start of the look.
    """
    heartbeat = lease.heartbeat_or_stop if lease else no_heartbeat
    began = time.monotonic()
    matcher = ValueMatcher(actor=actor, plan=plan, backend=backend)
    drafts = _draft_items(matcher, heartbeat)
    if plan.kind != PlanKind.DISCONNECT:
        draft_items.refuse_guarded(drafts)
    draft_items.refuse_references(plan.target, drafts)
    draft_items.refuse_impossible(plan.target, backend, drafts)
    _refuse_content(matcher, drafts)
    draft_items.note_selection(plan.target, drafts)
    _refuse_unusable_values(plan, backend, drafts, heartbeat)
    plan.counts = dict(sorted(Counter(str(draft.act) for draft in drafts).items()))
    plan.keeper_complete = plan.target_complete = True
    plan.rules = rules_snapshot(plan.target)
    # No other worker stores any, since the lease is this one's.
    earlier = PlanItem.objects.filter(plan=plan)
    if earlier.exists():
        with fenced(lease):
            earlier.delete()
    if plan.kind == PlanKind.SYNC and "choice" not in plan.options:
        with fenced(lease):
            insert_rows(stand_ins.add_lines(plan, backend, drafts))
    for batch in in_batches(_items_to_store(drafts)):
        items = [_to_plan_item(plan, draft) for draft in batch]
        with fenced(lease):
            insert_rows(items)
    sync_entries.record_states(plan.target, drafts, lease=lease, forget=plan.kind == PlanKind.SYNC)
    _finish_plan(plan, actor, lease)
    updates = [draft.finding for draft in drafts if draft.act is Act.UPDATE]
    return {
        finding.name: Observation(metadata=finding.remote, observed_at=began)
        for finding in updates
        if finding.remote
    }


def rules_snapshot(target: Target) -> dict[str, Json]:
    """Return the rules under which a plan is made, and where and how it is carried out, as it notes them."""
    names = ("direction", "conflict", "deletion", "budget_number", "budget_percent", "scope")
    kind = BACKENDS.get(target.backend)
    rules = [field.name for field in kind.destination_fields if field.rule] if kind else []
    carried = {
        name: target.destination[name] for name in [*_CARRIED_OUT_BY, *rules] if name in target.destination
    }
    if target.tags:
        carried["only_tags"] = target.only_tags
    return {name: getattr(target, name) for name in names} | {"endpoint": target.endpoint} | carried


def _draft_items(matcher: ValueMatcher, heartbeat: Callable[[], None]) -> list[PlanItemDraft]:
    target, options, backend = matcher.plan.target, matcher.plan.options, matcher.backend
    if matcher.plan.kind == PlanKind.ADOPT:
        names = [name for name in options["names"] if is_in_scope(str(target.scope), name)]
        findings = discover_names(target, backend, names, heartbeat=heartbeat)
        compare_values(matcher, findings, heartbeat=heartbeat, everything=True)
        return draft_items.plan_adoption(target, findings.values(), adoption=AdoptMode(options["mode"]))
    if matcher.plan.kind == PlanKind.DISCONNECT:
        findings = discover(target, backend, heartbeat=heartbeat)
        recover_unacknowledged_writes(matcher, findings, heartbeat=heartbeat)
        return draft_items.plan_disconnect(target, findings.values(), leaving=DisconnectMode(options["mode"]))
    if "choice" in options:
        findings = discover_names(target, backend, [options["name"]], heartbeat=heartbeat)
        compare_values(matcher, findings, heartbeat=heartbeat, everything=True)
        expected = (options["keeper_version"], options["target_version"])
        choice = ConflictChoice(options["choice"])
        return [
            draft_items.plan_resolution(target, finding, choice=choice, expected=expected)
            for finding in findings.values()
        ]
    findings = discover(target, backend, heartbeat=heartbeat)
    recover_unacknowledged_writes(matcher, findings, heartbeat=heartbeat)
    compare_values(matcher, findings, heartbeat=heartbeat)
    return draft_items.plan_sync(target, findings, beyond_budget=BEYOND_BUDGET in options)


def _refuse_unusable_values(
    plan: Plan, backend: Backend, drafts: list[PlanItemDraft], heartbeat: Callable[[], None]
) -> None:
    """Refuse each line that takes a value which Keeper cannot store, with the reason; each value is read."""
    takes_remote = plan.options.get("mode") == AdoptMode.TAKE_REMOTE
    taking = [draft for draft in drafts if draft.act is Act.PULL or (takes_remote and draft.act is Act.ADOPT)]
    types: dict[UUID, str] = {}
    for batch in in_batches([draft.finding.local.secret_uuid for draft in taking if draft.finding.local]):
        rows = Secret.objects.filter(uuid__in=batch)
        types |= dict(rows.values_list("uuid", "secret_type"))
    for draft, copy in run_each(
        lambda draft: backend.read_value(draft.finding.name), taking, heartbeat=heartbeat
    ):
        if isinstance(copy, BackendError):
            draft.refuse(str(copy))
        elif copy is not None:
            local = draft.finding.local
            refusal = explain_refusal(copy.value, held_type=types.get(local.secret_uuid, "") if local else "")
            if refusal:
                draft.refuse(refusal)


def _refuse_content(matcher: ValueMatcher, drafts: list[PlanItemDraft]) -> None:
    """Refuse each line whose value the system does not take, where only the value shows it.

    Each value is opened, after the event. Raises KeyUnavailable.
    """
    if not matcher.backend.checks_content:
        return
    versions = {
        draft.finding.local.version_uuid: draft
        for draft in drafts
        if draft.act in {Act.CREATE, Act.UPDATE, Act.ADOPT}
        and draft.finding.local is not None
        and draft.finding.local.version_uuid is not None
        and not draft.finding.local.resolution
    }
    for batch in in_batches(list(versions.items())):
        names = {uuid: draft.finding.name for uuid, draft in batch}
        opened = open_versions(actor=matcher.actor, plan=matcher.plan, names=names, sources={}, step="check")
        for uuid, draft in batch:
            if refusal := matcher.backend.explain_content_refusal(opened.values.get(uuid, "")):
                draft.refuse(refusal)


def _clean_options(kind: PlanKind, options: Mapping[str, Json]) -> dict[str, Json]:
    if kind is PlanKind.SYNC:
        return {BEYOND_BUDGET: True} if options.get(BEYOND_BUDGET) is True else {}
    try:
        if kind is PlanKind.DISCONNECT:
            return {"mode": DisconnectMode(str(options.get("mode")))}
        names = options.get("names")
        if not isinstance(names, list) or not 1 <= len(names) <= MAX_NAMES:
            raise PlanNotReady(f"give 1 to {MAX_NAMES:,} names to import")
        chosen: list[Json] = [*sorted({str(name) for name in names})]
        return {"mode": AdoptMode(str(options.get("mode"))), "names": chosen}
    except ValueError as error:
        raise PlanNotReady("choose one of the offered modes") from error


def _items_to_store(drafts: list[PlanItemDraft]) -> list[PlanItemDraft]:
    """Return what is stored one by one; what stays as it is, and most of what is not ours, is counted."""
    listed = [
        draft
        for draft in drafts
        if draft.act is not Act.UNCHANGED and len(draft.finding.name) <= MAX_NAME_LENGTH
    ]
    unmanaged = [draft for draft in listed if draft.act is Act.UNMANAGED]
    return [draft for draft in listed if draft.act is not Act.UNMANAGED] + unmanaged[:MAX_UNMANAGED]


def _to_plan_item(plan: Plan, draft: PlanItemDraft) -> PlanItem:
    finding = draft.finding
    keeper_version, target_version = draft_items.item_versions(finding)
    seen = finding.remote or SecretMetadata(name=finding.name, presence=Presence.UNLISTED)
    return PlanItem(
        plan=plan,
        name=finding.name,
        act=draft.act,
        reason=draft.reason[:_REASON_LENGTH],
        state=ItemState.PLANNED if draft.act in ACTING else ItemState.SKIPPED,
        secret_uuid=finding.local.secret_uuid if finding.local else None,
        keeper_version=keeper_version,
        keeper_number=finding.local.number if finding.local else None,
        there_number=finding.entry.base_number if finding.entry else None,
        target_version=target_version,
        target_presence=seen.presence,
        remote_id=seen.remote_id,
        target_keeps=seen.max_versions,
        ownership=finding.ownership(plan.target),
    )


def _finish_plan(plan: Plan, actor: Principal, lease: Lease | None) -> None:
    target = plan.target
    plan.state, plan.ready_at = PlanState.READY, timezone.now()
    if not any(plan.counts.get(act) for act in ACTING):
        # A plan to disconnect has Keeper forget secrets although none is Keeper's there any more.
        owned = SyncEntry.objects.filter(target=target).exclude(ownership=Ownership.NONE)
        if plan.kind != PlanKind.DISCONNECT or not owned.exists():
            plan.state, plan.finished_at = PlanState.DONE, plan.ready_at
    details = _plan_details(plan, actor)
    with fenced(lease):
        sync_entries.note_check(target)
        older = Plan.objects.filter(target=target, state__in=[PlanState.READY, PlanState.MAKING])
        older.exclude(pk=plan.pk).update(state=PlanState.SUPERSEDED)
        plan.save(update_fields=_MADE)
        if details:
            record(actor=actor, action=Action.TARGET_PLAN, **stream_and_object(target), details=details)


def _plan_details(plan: Plan, actor: Principal) -> dict[str, Json]:
    """Return what is recorded of a plan; nothing for a pass of Keeper's own that repeats the recorded one.

    The next one that is recorded names the number of passes since.
    """
    details: dict[str, Json] = {"plan": str(plan.uuid), "kind": plan.kind, "counts": plan.counts}
    if plan.state != PlanState.DONE or actor.kind is not ActorKind.SYSTEM or plan.kind != PlanKind.SYNC:
        return details
    last = last_recorded(plan.target)
    if last is None or not is_empty_pass(last):
        return {**details, "empty": True}
    if parsed_details(last.details)["counts"] == plan.counts and is_in(last.at + REPEATED, within=REPEATED):
        return {}
    passes = Plan.objects.filter(target=plan.target, finished_at__gt=last.at).count() + 1
    return {**details, "empty": True, "passes": passes}
