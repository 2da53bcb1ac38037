"""A person's choices about a plan's conflicts, staged in the plan itself and applied with it.

The plan's row has a MAC and keeps each choice with the versions that were shown. Its items have none: when
they are applied, each is compared with its choice (see preconditions.py).
"""

from collections.abc import Mapping
from typing import Final

from core.canonical_json import Json
from sync_app.domain.reconciliation import Ownership, Presence
from sync_app.errors import NotResolvable, PlanNotReady
from sync_app.models import Plan, PlanItem
from sync_app.models.plan import Act, ItemState, PlanKind, PlanState
from sync_app.planning.draft_items import ConflictChoice

CHOICES: Final = "choices"
# A page of a plan shows no more conflicts.
MAX_CHOICES: Final = 100
RESOLVABLE: Final = frozenset({Act.CONFLICT, Act.DRIFTED, Act.MISSING})
_THERE: Final = frozenset({Presence.PRESENT, Presence.DELETED})
_REASONS: Final = {
    ConflictChoice.OURS: "Keeper's value was chosen",
    ConflictChoice.THEIRS: "the target's value was chosen",
}


def takes_choices(plan: Plan) -> bool:
    """Return whether choices can be staged: nothing of the plan was applied, and no newer one exists."""
    untouched = plan.state == PlanState.READY or (
        plan.state == PlanState.DONE and plan.finished_at == plan.ready_at
    )
    return (
        plan.kind == PlanKind.SYNC
        and untouched
        and "choice" not in plan.options
        and not Plan.objects.filter(target=plan.target, pk__gt=plan.pk).exists()
    )


def staged_items(plan: Plan, choices: Mapping[int, str]) -> list[PlanItem]:
    """Return the chosen items as they would be applied; nothing is stored.

    `choices` are by the ids of items. Raises NotResolvable if a choice does not fit its item, PlanNotReady if
    the plan takes no choices.
    """
    if not choices:
        return []
    if not takes_choices(plan):
        raise PlanNotReady("this plan can no longer be changed: refresh it")
    if len(choices) > MAX_CHOICES:
        raise NotResolvable(f"at most {MAX_CHOICES} conflicts can be resolved at a time")
    items = list(PlanItem.objects.filter(plan=plan, pk__in=choices).order_by("pk"))
    if len(items) < len(choices):
        raise NotResolvable("an item is not of this plan: refresh it")
    for item in items:
        _stage(item, choices[item.pk])
    return items


def store(plan: Plan, items: list[PlanItem]) -> None:
    """Store staged items, their choices and the new counts, in the caller's transaction."""
    stored = dict(PlanItem.objects.filter(pk__in=[item.pk for item in items]).values_list("pk", "act"))
    counts = dict(plan.counts)
    for item in items:
        counts[stored[item.pk]] = counts.get(stored[item.pk], 1) - 1
        counts[item.act] = counts.get(item.act, 0) + 1
    plan.counts = {act: count for act, count in sorted(counts.items()) if count}
    plan.options = {**plan.options, CHOICES: {item.name: _choice_of(item) for item in items}}
    plan.state, plan.finished_at = PlanState.READY, None
    PlanItem.objects.bulk_update(items, ["act", "reason", "state"])
    plan.save(update_fields=["counts", "options", "state", "finished_at"])


def is_chosen(item: PlanItem, options: Mapping[str, Json]) -> bool:
    """Return whether a person chose this act, for this secret as the plan showed it."""
    return chosen_by(options).get(item.name) == _choice_of(item)


def chosen_by(options: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the choices that a plan's options hold, by name."""
    choices = options.get(CHOICES, {})
    return choices if isinstance(choices, dict) else {}


def _choice_of(item: PlanItem) -> dict[str, Json]:
    choice = ConflictChoice.THEIRS if item.act == Act.PULL else ConflictChoice.OURS
    return {
        "choice": str(choice),
        "keeper_version": item.keeper_version,
        "target_version": item.target_version,
    }


def _stage(item: PlanItem, choice: str) -> None:
    if item.act not in RESOLVABLE or choice not in set(ConflictChoice):
        raise NotResolvable(f"{item.name}: choose keep_ours or take_theirs, for what is in conflict")
    chosen = ConflictChoice(choice)
    if chosen is ConflictChoice.THEIRS:
        if not can_take_remote(item):
            raise NotResolvable(f"{item.name}: missing in the target, and a sync deletes nothing in Keeper")
        item.act = Act.PULL
    else:
        if not item.keeper_version:
            raise NotResolvable(
                f"{item.name}: not in Keeper, and what changed in the target is never deleted"
            )
        if not can_keep_local(item):
            raise NotResolvable(f"{item.name}: not managed by Keeper: import it first")
        item.act = Act.UPDATE if item.target_presence in _THERE else Act.CREATE
    item.reason, item.state = _REASONS[chosen], ItemState.PLANNED


def can_take_remote(item: PlanItem) -> bool:
    """Return whether the target has a value to take."""
    return item.target_presence == Presence.PRESENT


def can_keep_local(item: PlanItem) -> bool:
    """Return whether Keeper has a value, and may write it where the target's is."""
    return bool(item.keeper_version) and (
        item.target_presence not in _THERE or item.ownership != Ownership.NONE
    )
