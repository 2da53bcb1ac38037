"""What a plan does with each name that was found, by the kind of the plan; no network, no change."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from audit_app.models import deployment_uuid
from secrets_app.envelope import OVERHEAD_BYTES
from secrets_app.errors import InvalidName
from secrets_app.values.names import validate_secret_name
from sync_app.backends.base import LARGEST_VALUE, Backend
from sync_app.backends.registry import backend_of
from sync_app.domain.reconciliation import (
    Decision,
    Direction,
    Outcome,
    Ownership,
    Presence,
    Reason,
    count_owned,
    reconcile_all,
)
from sync_app.models import SyncEntry, Target
from sync_app.models.plan import Act
from sync_app.planning.discovery import Finding
from sync_app.state import contests, deletions, entry_rows, local_state
from sync_app.state.local_state import LEFT_OUT, SELECTED, UNPROVED
from sync_app.state.references import PUSH_ONLY, ReferenceRights
from sync_app.state.value_forms import REWRITTEN, is_in_other_form


class AdoptMode(StrEnum):
    """What becomes of the values when a secret of the target is taken over."""

    TAKE_REMOTE = "keep_theirs"
    OVERWRITE = "replace"
    IF_EQUAL = "only_if_equal"


class DisconnectMode(StrEnum):
    """What becomes of what a target wrote when it is disconnected."""

    LEAVE = "leave"
    WITHDRAW = "withdraw"


class ConflictChoice(StrEnum):
    """Which side a person chose."""

    OURS = "keep_ours"
    THEIRS = "take_theirs"


_UNCOMPARED: Final = "the values could not be compared"
_GUARDED: Final = "guarded: Keeper compares and delivers no value of it"
_FINAL: Final = "the system keeps nothing of it, and Keeper does"
_SIZES_AT_A_TIME: Final = 100
_WRITING: Final = frozenset({Act.CREATE, Act.UPDATE, Act.ADOPT, Act.DELETE})


@dataclass(slots=True)
class PlanItemDraft:
    """One line of a plan before it is stored."""

    finding: Finding
    act: Act
    reason: str

    def refuse(self, reason: str) -> None:
        self.act, self.reason = Act.REFUSED, reason


def plan_sync(
    target: Target, findings: Mapping[str, Finding], *, beyond_budget: bool = False
) -> list[PlanItemDraft]:
    """Return what the target's rules make of each finding; `beyond_budget` lets any number be deleted."""
    ordered = list(findings.values())
    items = [finding.to_item(target) for finding in ordered]
    # What was deleted lately is counted only where something may be deleted.
    may_delete = any(finding.local is None and finding.remote is not None for finding in ordered)
    budget = deletions.load_budget(target) if may_delete else target.budget
    decisions = reconcile_all(items, rules=target.rules, budget=None if beyond_budget else budget)
    decided = list(zip(ordered, decisions, strict=True))
    over = sum(decision.reason is Reason.OVER_BUDGET for decision in decisions)
    too_many = deletions.explain_excess(budget, deleted=over, owned=count_owned(items)) if over else ""
    elsewhere = _find_pulled_elsewhere(target, decided)
    waiting = contests.find_contested_writes(
        target, {finding.name: decision for finding, decision in decided}
    )
    drafts = []
    for finding, decision in decided:
        reason = _explain(finding, decision, backend_of(target.backend))
        if decision.reason is Reason.OVER_BUDGET:
            reason = too_many
        draft = PlanItemDraft(finding, Act(decision.outcome), reason)
        if finding.name in waiting:
            draft.act, draft.reason = waiting[finding.name].act, waiting[finding.name].reason
        if _is_rewritten(target, finding, draft):
            draft.reason = REWRITTEN
        if decision.outcome is Outcome.PULL:
            _restrict_pull(draft, elsewhere=elsewhere)
        drafts.append(draft)
    return drafts


def _explain(finding: Finding, decision: Decision, kind: type[Backend]) -> str:
    if finding.problem:
        return finding.problem
    if finding.lost or finding.unproved:
        return local_state.LOST if finding.lost else UNPROVED
    if finding.left_out:
        return _LEFT_OUT.get(decision.reason, str(decision.reason))
    return kind.words(decision.reason)


# What a plan states of a secret that Keeper has and the target's tags leave out.
_LEFT_OUT: Final = {
    Reason.DELETED_IN_KEEPER: LEFT_OUT,
    Reason.DELETED_AND_CHANGED: f"{LEFT_OUT}, changed in target",
    Reason.DELETED_UNKNOWN_BASE: f"{LEFT_OUT}, last synced version unknown",
    Reason.DELETION_OFF: f"{LEFT_OUT}; {Reason.DELETION_OFF}",
    Reason.ADOPTED: f"{LEFT_OUT}; {Reason.ADOPTED}",
}


def note_selection(target: Target, drafts: Iterable[PlanItemDraft]) -> None:
    """Add to the reason of each new secret that the target's tags select it."""
    for draft in drafts:
        if target.tags and draft.act is Act.CREATE and draft.finding.base is None:
            draft.reason = f"{draft.reason}; {SELECTED}"


def _is_rewritten(target: Target, finding: Finding, draft: PlanItemDraft) -> bool:
    """Return whether an update brings no new value, but the form that the target's rule asks for by now."""
    base = finding.base
    is_same = base is not None and finding.local is not None and base.keeper == finding.local.version
    return draft.act is Act.UPDATE and is_same and is_in_other_form(target, finding.local, finding.entry)


def plan_adoption(target: Target, findings: Iterable[Finding], *, adoption: AdoptMode) -> list[PlanItemDraft]:
    """Return which secrets of the target are taken over, and why the others are not."""
    living = set(Target.objects.filter(live=True).values_list("uuid", flat=True))
    drafts = []
    for finding in findings:
        refusal = (
            finding.problem
            or _explain_unselected(finding)
            or _explain_untagged(target, finding)
            or _explain_no_adoption(target, finding, adoption, living)
        )
        act = Act.REFUSED if refusal else Act.ADOPT
        drafts.append(PlanItemDraft(finding, act, refusal or _ADOPTIONS[adoption]))
    return drafts


_ADOPTIONS = {
    AdoptMode.TAKE_REMOTE: "taken over with the target's value",
    AdoptMode.OVERWRITE: "taken over, and its value replaced by Keeper's",
    AdoptMode.IF_EQUAL: "imported: the values are identical",
}


def plan_disconnect(
    target: Target, findings: Iterable[Finding], *, leaving: DisconnectMode
) -> list[PlanItemDraft]:
    """Return what becomes of each secret that is ours; the others are not mentioned."""
    drafts = []
    for finding in findings:
        if finding.problem and finding.entry is not None:
            drafts.append(PlanItemDraft(finding, Act.REFUSED, finding.problem))
            continue
        present = finding.remote is not None and finding.remote.presence is Presence.PRESENT
        if present and finding.ownership(target) is not Ownership.NONE:
            drafts.append(_draft_disconnect(target, finding, leaving))
    return drafts


def plan_resolution(
    target: Target, finding: Finding, *, choice: ConflictChoice, expected: tuple[str, str]
) -> PlanItemDraft:
    """Return what a person's choice makes of one secret, if it is still as that person saw it.

    `expected` are the versions of Keeper's and of the target's side at that time.
    """
    if refusal := finding.problem or _explain_unselected(finding):
        return PlanItemDraft(finding, Act.REFUSED, refusal)
    if finding.equal:
        return PlanItemDraft(finding, Act.UNCHANGED, Reason.EQUAL)
    if item_versions(finding) != expected:
        return PlanItemDraft(finding, Act.REFUSED, "a side changed since the plan was made")
    if choice is ConflictChoice.THEIRS:
        return _draft_take_remote(finding)
    return _draft_keep_local(target, finding)


def refuse_references(target: Target, drafts: Iterable[PlanItemDraft]) -> None:
    """Refuse what would deliver references that may not be filled in, or write into a value with some."""
    rights = ReferenceRights(target)
    for draft in drafts:
        resolution = draft.finding.local.resolution if draft.finding.local else None
        if resolution is None:
            continue
        if draft.act is Act.PULL:
            draft.refuse(PUSH_ONLY)
        elif draft.act in {Act.CREATE, Act.UPDATE, Act.ADOPT} and (
            refusal := rights.explain_refusal(resolution)
        ):
            draft.refuse(refusal)


def refuse_guarded(drafts: Iterable[PlanItemDraft]) -> None:
    """Leave guarded secrets alone, whatever both sides hold: a plan tells nobody what a value equals."""
    for draft in drafts:
        if draft.finding.is_guarded:
            draft.refuse(_GUARDED)


def refuse_impossible(target: Target, backend: Backend, drafts: Iterable[PlanItemDraft]) -> None:
    """Refuse what the target's system does not take, by name or size; mark permanent deletions."""
    drafts = list(drafts)
    refuse_same_names(target, backend, drafts)
    writing = [draft for draft in drafts if draft.act in _WRITING]
    for draft in writing:
        if refusal := backend.explain_refusal(draft.act, draft.finding.name):
            draft.refuse(refusal)
        elif draft.act is Act.DELETE and not backend.capabilities.deletes_recoverably:
            draft.reason = f"{draft.reason}; {_FINAL}"
        elif draft.reason == Reason.NEW_IN_KEEPER:
            draft.reason = f"{draft.reason}{name_there(backend, draft.finding.name)}"
    _refuse_beyond_room(backend, writing)
    if backend.max_value_bytes < LARGEST_VALUE:
        sent = [draft for draft in writing if draft.act in {Act.CREATE, Act.UPDATE, Act.ADOPT}]
        for start in range(0, len(sent), _SIZES_AT_A_TIME):
            _refuse_values(target, backend, sent[start : start + _SIZES_AT_A_TIME])


def name_there(backend: Backend, name: str) -> str:
    """Return what the reason of a new name says of where it will be, if that is elsewhere; else empty."""
    there = backend.remote_name(name)
    return f"; there it is {there}" if there != name else ""


def refuse_same_names(target: Target, backend: Backend, drafts: Sequence[PlanItemDraft]) -> None:
    """Refuse the secrets that become one name in the target, but for the one that Keeper delivered."""
    if not backend.maps_names:
        return
    wanted: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        if draft.finding.local is not None:
            wanted[backend.remote_name(draft.finding.name)].add(draft.finding.name)
    looked_at = {draft.finding.name: draft.finding for draft in drafts}
    renamed = {finding.former_name for finding in looked_at.values()}
    delivered: dict[str, set[str]] = defaultdict(set)
    # Of a plan of some names, the others are as they were noted.
    for name in (entry_rows.delivered_names(target) | looked_at.keys()) - renamed:
        finding = looked_at.get(name)
        if finding is None or finding.is_delivered:
            delivered[backend.remote_name(name)].add(name)
    for draft in drafts:
        name, there = draft.finding.name, backend.remote_name(draft.finding.name)
        others = delivered[there] - {name}
        if not delivered[there] and draft.act in {Act.CREATE, Act.ADOPT}:
            others = wanted[there] - {name}
        if others and (draft.finding.local is not None or draft.act in _WRITING):
            draft.refuse(f"{name} and {min(others)} become one name in the target: rename one of them")


def _refuse_beyond_room(backend: Backend, writing: Iterable[PlanItemDraft]) -> None:
    room = backend.free_names
    created = [draft for draft in writing if draft.act is Act.CREATE] if room is not None else []
    for draft in sorted(created, key=lambda draft: draft.finding.name)[room:]:
        draft.refuse(f"the target has room for {room} more secrets")


def _refuse_values(target: Target, backend: Backend, drafts: Sequence[PlanItemDraft]) -> None:
    """Refuse values that the system does not take, by type and sealed length; nothing is opened."""
    local_secrets = local_state.find_local(target.environment, [draft.finding.name for draft in drafts])
    for draft in drafts:
        local = local_secrets.get(draft.finding.name)
        if local is None:
            continue
        envelope = b"" if draft.act is Act.ADOPT else local.envelope
        if refusal := explain_value_refusal(
            backend, local.secret_type, envelope, has_references=bool(local.resolution)
        ):
            draft.refuse(refusal)


def explain_value_refusal(
    backend: Backend, secret_type: str, envelope: bytes, *, has_references: bool
) -> str:
    """Return why the system takes no value of this type, or as long as this sealed one; else empty."""
    refusal = backend.explain_type_refusal(secret_type, has_references=has_references)
    # What references are filled in to has another length, which is known when it is delivered.
    if refusal or has_references or not envelope:
        return refusal
    return backend.explain_value_refusal(len(envelope) - OVERHEAD_BYTES, secret_type)


def _explain_unselected(finding: Finding) -> str:
    """Return why the target's tags do not let a secret be touched; empty if they do."""
    if finding.unproved:
        return UNPROVED
    return LEFT_OUT if finding.left_out else ""


def _explain_untagged(target: Target, finding: Finding) -> str:
    """Return why a target that selects by tags takes over nothing that Keeper lacks; empty if it may."""
    if finding.local is not None or not target.tags:
        return ""
    return "this target selects by tags, and Keeper has no secret of this name: create it with its tags"


def item_versions(finding: Finding) -> tuple[str, str]:
    """Return the versions of both sides as a plan notes them."""
    return (finding.local.version if finding.local else "", finding.remote.version if finding.remote else "")


def _draft_take_remote(finding: Finding) -> PlanItemDraft:
    if finding.remote is None or finding.remote.presence is not Presence.PRESENT:
        return PlanItemDraft(
            finding, Act.REFUSED, "it is gone from the target, and a sync deletes nothing in Keeper"
        )
    return PlanItemDraft(finding, Act.PULL, "the target's value was chosen")


def _draft_keep_local(target: Target, finding: Finding) -> PlanItemDraft:
    if finding.local is None:
        reason = "Keeper has no such secret: what changed in the target is never deleted"
        return PlanItemDraft(finding, Act.REFUSED, reason)
    presence = finding.remote.presence if finding.remote else Presence.ABSENT
    if presence is Presence.ABSENT:
        return PlanItemDraft(finding, Act.CREATE, "Keeper's value was chosen")
    if finding.ownership(target) is Ownership.NONE:
        return PlanItemDraft(finding, Act.REFUSED, "the target's secret is not ours: adopt it first")
    restored = presence is Presence.DELETED
    # Another reason than the rules give: a person's choice is no round of a fight.
    reason = "Keeper's value was chosen" + (": it is restored, then written" if restored else "")
    return PlanItemDraft(finding, Act.UPDATE, reason)


def _restrict_pull(draft: PlanItemDraft, *, elsewhere: set[str]) -> None:
    name = draft.finding.name
    try:
        validate_secret_name(name)
    except InvalidName:
        draft.refuse("Keeper takes no secret of this name")
    if name in elsewhere:
        draft.act, draft.reason = Act.CONFLICT, "Keeper's value was pulled from another target"


def _find_pulled_elsewhere(target: Target, decided: Iterable[tuple[Finding, Decision]]) -> set[str]:
    """Return the names whose value in Keeper came from another target that is pulled from.

    Without this two such targets that disagree would overwrite each other's value in Keeper forever.
    """
    names = {
        finding.name: finding.local.version
        for finding, decision in decided
        if decision == Decision(Outcome.PULL, Reason.KEEPER_CHANGED) and finding.local
    }
    if not names:
        return set()
    others = SyncEntry.objects.filter(
        target__environment=target.environment,
        target__live=True,
        target__direction__in=[Direction.PULL, Direction.BOTH],
    ).exclude(target=target)
    rows = others.exclude(base_keeper="").values_list("name", "base_keeper")
    return {name for name, version in rows if names.get(name) == version}


def _explain_no_adoption(  # noqa: PLR0911  one return a reason
    target: Target, finding: Finding, adoption: AdoptMode, living: set[UUID]
) -> str:
    seen = finding.remote
    if seen is None or seen.presence is not Presence.PRESENT:
        return "there is no such secret in the target"
    if finding.ownership(target) is not Ownership.NONE:
        return "it is ours already"
    mark = seen.mark
    if mark is not None and mark.deployment != deployment_uuid():
        return "another Keeper has marked it as its own: have it disconnected there first"
    if mark is not None and mark.target in living - {target.uuid}:
        return "another target of this Keeper has marked it as its own"
    if adoption is not AdoptMode.TAKE_REMOTE and finding.local is None:
        return "Keeper has no secret of this name"
    if finding.local is not None and finding.local.presence is not Presence.PRESENT:
        return str(Reason.KEEPER_UNREADABLE)
    if finding.local is not None and finding.local.resolution and adoption is not AdoptMode.OVERWRITE:
        return PUSH_ONLY
    if adoption is AdoptMode.IF_EQUAL and not finding.equal:
        return "the values are not the same" if finding.equal is False else _UNCOMPARED
    return ""


def _draft_disconnect(target: Target, finding: Finding, leaving: DisconnectMode) -> PlanItemDraft:
    if leaving is DisconnectMode.LEAVE:
        return PlanItemDraft(finding, Act.RELEASE, "it stays; our mark is taken off")
    if finding.ownership(target) is Ownership.ADOPTED:
        return PlanItemDraft(finding, Act.RELEASE, Reason.ADOPTED)
    base = finding.base
    if base is None or finding.remote is None or finding.remote.version != base.target:
        reason = "it was changed in the target: it stays, and our mark is taken off"
        return PlanItemDraft(finding, Act.RELEASE, reason)
    return PlanItemDraft(finding, Act.DELETE, "written by this target, and withdrawn with it")
