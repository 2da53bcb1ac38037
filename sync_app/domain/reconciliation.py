"""What a sync does with one secret, decided from what was seen and nothing else: no I/O, no clock.

`reconcile` is total: every combination of (base, Keeper's side, the target's side, ownership) and
rules has one decision, shown as a table in docs/sync.md. `reconcile_all` then looks at a whole pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Direction(StrEnum):
    """Which way values travel."""

    PUSH = "push"
    PULL = "pull"
    BOTH = "both"


class Conflict(StrEnum):
    """Which side is followed where a rule has to choose."""

    KEEPER_WINS = "keeper_wins"
    TARGET_WINS = "target_wins"
    ASK = "ask"


class Deletion(StrEnum):
    """Whether the target's copy follows a deletion in Keeper."""

    NEVER = "never"
    RECOVERABLE = "recoverable"


class Ownership(StrEnum):
    """What Keeper can prove about the target's secret: our mark on it and a matching entry here."""

    NONE = "none"
    CREATED = "created"
    ADOPTED = "adopted"


class Presence(StrEnum):
    """What was seen of a secret on one side."""

    PRESENT = "present"
    # A direct read found nothing.
    ABSENT = "absent"
    # Not in a list, which may lag or be incomplete; the secret itself was not requested.
    UNLISTED = "unlisted"
    # Deleted, but still within the recovery window, and holding its name.
    DELETED = "deleted"
    # Shown as it was before a write that the system answered: such a look proves nothing yet.
    STALE = "stale"
    UNREADABLE = "unreadable"


class Outcome(StrEnum):
    """What to do. `create`, `update`, `delete` write to the target, `pull` to Keeper, the rest nowhere."""

    UNCHANGED = "unchanged"
    CREATE = "create"
    UPDATE = "update"
    PULL = "pull"
    CONFLICT = "conflict"
    DRIFTED = "drifted"
    MISSING = "missing"
    DELETE = "delete"
    UNMANAGED = "unmanaged"
    OWNERSHIP_LOST = "ownership_lost"
    # Keeper's last write was answered, and the target does not show it yet: it is looked at again.
    UNKNOWN = "unknown"
    REFUSED = "refused"


WRITES: Final = frozenset({Outcome.CREATE, Outcome.UPDATE, Outcome.DELETE, Outcome.PULL})


class Reason(StrEnum):
    """Why, in words for the plan."""

    IN_STEP = "unchanged since the last sync"
    EQUAL = "same value on both sides"
    NOWHERE = "on neither side"
    WITHDRAWN = "deleted in Keeper and in the target"
    NEW_IN_KEEPER = "only in Keeper"
    NEW_IN_TARGET = "only in target"
    KEEPER_CHANGED = "changed in Keeper"
    TARGET_CHANGED = "changed in target"
    BOTH_CHANGED = "changed on both sides"
    UNKNOWN_BASE = "never synced, values may differ"
    WRONG_BASE = "recorded as synced, but the values differ"
    LOST = "missing in target"
    EXPIRED = "expired in target; the next change in Keeper writes it again"
    RESTORED = "deleted in target; restored, then updated"
    DELETED_IN_KEEPER = "deleted in Keeper"
    DELETED_AND_CHANGED = "deleted in Keeper, changed in target"
    DELETED_UNKNOWN_BASE = "not in Keeper, last synced version unknown"
    MARK_LOST = "Keeper's mark is missing; import the secret again to update it"
    NOT_OURS = "not managed by Keeper"
    ONLY_PULLED = "only in Keeper; this target is pull-only"
    NAME_HELD = "another owner's secret with this name is scheduled for deletion"
    KEEPER_UNREADABLE = "could not read Keeper's version"
    TARGET_UNREADABLE = "could not read the target's version"
    STALE = "written, and the target does not show it yet; Keeper looks again"
    NOT_CONFIRMED = "missing from the target's list, not confirmed by a read"
    DELETION_OFF = "deletion is off for this target"
    ADOPTED = "imported secrets are never deleted"
    INCOMPLETE = "nothing is deleted: one side could not be read completely"
    EMPTY = "nothing is deleted: one side is empty"
    OVER_BUDGET = "nothing is deleted: over the deletion limit"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a target's owner chose."""

    direction: Direction = Direction.PUSH
    conflict: Conflict = Conflict.ASK
    deletion: Deletion = Deletion.NEVER


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side as it was just seen; `version` is opaque and compared for equality alone."""

    presence: Presence
    version: str = ""
    # Whether it is deleted because its time was up, and would be again.
    expired: bool = False


GONE: Final = Side(presence=Presence.ABSENT)


@dataclass(frozen=True, kw_only=True)
class Base:
    """The versions of both sides when they were last known to hold the same value."""

    keeper: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One secret on both sides.

    `was_owned` means that our entry records it as owned, and the secret itself does not prove it.
    `equal` is the comparison of the values, by keyed fingerprint; None without a comparison, which never
    counts as equal.
    """

    keeper: Side
    target: Side
    base: Base | None = None
    ownership: Ownership = Ownership.NONE
    equal: bool | None = None
    was_owned: bool = False

    @property
    def owned(self) -> bool:
        return self.ownership is not Ownership.NONE

    @property
    def keeper_changed(self) -> bool:
        return self.base is not None and self.keeper.version != self.base.keeper

    @property
    def target_changed(self) -> bool:
        return self.base is not None and self.target.version != self.base.target


@dataclass(frozen=True)
class Decision:
    """What to do with one secret, and why."""

    outcome: Outcome
    reason: Reason


def reconcile(item: Item, rules: Rules) -> Decision:
    """Return what to do with one secret under these rules."""
    decision = _decide(item, rules)
    if item.was_owned and decision == Decision(Outcome.UNMANAGED, Reason.NOT_OURS):
        return Decision(Outcome.OWNERSHIP_LOST, Reason.MARK_LOST)
    return decision


def _decide(item: Item, rules: Rules) -> Decision:
    if item.keeper.presence is Presence.UNREADABLE:
        return Decision(Outcome.REFUSED, Reason.KEEPER_UNREADABLE)
    if item.target.presence is Presence.UNREADABLE:
        return Decision(Outcome.REFUSED, Reason.TARGET_UNREADABLE)
    if item.target.presence is Presence.STALE:
        return Decision(Outcome.UNKNOWN, Reason.STALE)
    in_keeper = item.keeper.presence is Presence.PRESENT
    if item.target.presence is Presence.PRESENT:
        return _decide_in_both(item, rules) if in_keeper else _decide_only_in_target(item, rules)
    return _decide_only_in_keeper(item, rules) if in_keeper else _decide_in_neither(item)


def needs_value_comparison(item: Item) -> bool:
    """Return whether comparing the values could settle what the versions leave open.

    Where it is False a pass reads no value to decide.
    """
    both = item.keeper.presence is Presence.PRESENT and item.target.presence is Presence.PRESENT
    return both and item.equal is None and (item.base is None or item.target_changed)


def _decide_in_neither(item: Item) -> Decision:
    if item.target.presence is Presence.DELETED:
        return Decision(Outcome.UNCHANGED, Reason.WITHDRAWN)
    return Decision(Outcome.UNCHANGED, Reason.NOWHERE)


def _decide_only_in_keeper(item: Item, rules: Rules) -> Decision:  # noqa: PLR0911  one return a row
    """Decide for a secret that the target does not show: never there, removed, or not looked for."""
    was_synced = item.base is not None or item.ownership is Ownership.ADOPTED
    pulled = rules.direction is Direction.PULL
    if pulled and not was_synced:
        return Decision(Outcome.UNMANAGED, Reason.ONLY_PULLED)
    if item.target.presence is Presence.UNLISTED:
        return Decision(Outcome.REFUSED, Reason.NOT_CONFIRMED)
    if pulled:
        # Keeper's own secrets are never deleted by a sync.
        return Decision(Outcome.MISSING, Reason.LOST)
    keeper_wins = rules.conflict is Conflict.KEEPER_WINS
    if item.target.presence is Presence.DELETED:
        if not item.owned:
            return Decision(Outcome.REFUSED, Reason.NAME_HELD)
        if item.target.expired and item.base is not None and not item.keeper_changed:
            return Decision(Outcome.MISSING, Reason.EXPIRED)
        # To restore makes a value readable again that may have changed before it was deleted.
        if keeper_wins:
            return Decision(Outcome.UPDATE, Reason.RESTORED)
        return Decision(Outcome.MISSING, Reason.LOST)
    if not was_synced:
        return Decision(Outcome.CREATE, Reason.NEW_IN_KEEPER)
    return Decision(Outcome.CREATE if keeper_wins else Outcome.MISSING, Reason.LOST)


def _decide_only_in_target(item: Item, rules: Rules) -> Decision:
    if rules.direction is Direction.PULL or not item.owned:
        return _decide_import(item, rules)
    if item.base is None:
        return Decision(Outcome.CONFLICT, Reason.DELETED_UNKNOWN_BASE)
    if item.target_changed:
        return Decision(Outcome.CONFLICT, Reason.DELETED_AND_CHANGED)
    if rules.deletion is Deletion.NEVER:
        return Decision(Outcome.REFUSED, Reason.DELETION_OFF)
    if item.ownership is Ownership.ADOPTED:
        return Decision(Outcome.REFUSED, Reason.ADOPTED)
    return Decision(Outcome.DELETE, Reason.DELETED_IN_KEEPER)


def _decide_import(item: Item, rules: Rules) -> Decision:
    """Decide for a secret that Keeper lacks and could take over, or that is none of its business."""
    if rules.direction is Direction.PUSH or (item.base is not None and rules.direction is Direction.BOTH):
        return Decision(Outcome.UNMANAGED, Reason.NOT_OURS)
    if item.base is None:
        if item.owned:
            return Decision(Outcome.CONFLICT, Reason.DELETED_UNKNOWN_BASE)
        return Decision(Outcome.PULL, Reason.NEW_IN_TARGET)
    if rules.conflict is Conflict.TARGET_WINS:
        return Decision(Outcome.PULL, Reason.DELETED_IN_KEEPER)
    if item.target_changed:
        return Decision(Outcome.CONFLICT, Reason.DELETED_AND_CHANGED)
    return Decision(Outcome.DRIFTED, Reason.DELETED_IN_KEEPER)


def _decide_in_both(item: Item, rules: Rules) -> Decision:  # noqa: PLR0911  one return a row
    if rules.direction is Direction.PUSH and not item.owned:
        return Decision(Outcome.UNMANAGED, Reason.NOT_OURS)
    if item.equal:
        return Decision(Outcome.UNCHANGED, Reason.EQUAL)
    if item.base is None:
        # No strategy resolves this: the newer side is unknown.
        return Decision(Outcome.CONFLICT, Reason.UNKNOWN_BASE)
    match item.keeper_changed, item.target_changed:
        case False, False if item.equal is False:
            # The last sync was recorded as done and was not, or the record is wrong.
            return Decision(Outcome.CONFLICT, Reason.WRONG_BASE)
        case False, False:
            return Decision(Outcome.UNCHANGED, Reason.IN_STEP)
        case True, False:
            return _decide_keeper_changed(item, rules)
        case False, True:
            return _decide_target_changed(rules)
        case _:
            return _decide_both_changed(item, rules)


def _decide_push(item: Item, reason: Reason) -> Decision:
    if not item.owned:
        return Decision(Outcome.UNMANAGED, Reason.NOT_OURS)
    return Decision(Outcome.UPDATE, reason)


def _decide_keeper_changed(item: Item, rules: Rules) -> Decision:
    if rules.direction is not Direction.PULL:
        return _decide_push(item, Reason.KEEPER_CHANGED)
    target_wins = rules.conflict is Conflict.TARGET_WINS
    return Decision(Outcome.PULL if target_wins else Outcome.DRIFTED, Reason.KEEPER_CHANGED)


def _decide_target_changed(rules: Rules) -> Decision:
    if rules.direction is not Direction.PUSH:
        return Decision(Outcome.PULL, Reason.TARGET_CHANGED)
    keeper_wins = rules.conflict is Conflict.KEEPER_WINS
    return Decision(Outcome.UPDATE if keeper_wins else Outcome.DRIFTED, Reason.TARGET_CHANGED)


def _decide_both_changed(item: Item, rules: Rules) -> Decision:
    if rules.conflict is Conflict.ASK:
        return Decision(Outcome.CONFLICT, Reason.BOTH_CHANGED)
    keeper_wins = rules.conflict is Conflict.KEEPER_WINS
    against = Direction.PULL if keeper_wins else Direction.PUSH
    if rules.direction is against:
        return Decision(Outcome.DRIFTED, Reason.BOTH_CHANGED)
    return (
        _decide_push(item, Reason.BOTH_CHANGED)
        if keeper_wins
        else Decision(Outcome.PULL, Reason.BOTH_CHANGED)
    )


# --- A whole pass ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DeletionBudget:
    """How much may be deleted in a window: a number, and a share in per cent of what Keeper owned there.

    `withdrawn` was deleted in the window before: it counts against both, and was owned at its beginning.
    """

    number: int = 10
    percent: int = 10
    withdrawn: int = 0

    def allows(self, *, deleted: int, owned: int) -> bool:
        return self.withdrawn + deleted <= self._limit(owned)

    def explain_excess(self, *, deleted: int, owned: int, hours: int) -> str:
        """Return why so many are not deleted, with the limit."""
        return (
            f"{Reason.OVER_BUDGET}: {deleted} to delete, {self.withdrawn} deleted in the last {hours} hours, "
            f"and at most {self._limit(owned)} of {owned + self.withdrawn} "
            f"({self.number}, or {self.percent} %)"
        )

    def _limit(self, owned: int) -> int:
        # A share of few secrets is never less than one of them, unless it is none.
        share = max(1, (owned + self.withdrawn) * self.percent // 100) if self.percent else 0
        return min(self.number, share)


def reconcile_all(items: Sequence[Item], *, rules: Rules, budget: DeletionBudget | None) -> list[Decision]:
    """Return the decision for each item of a pass over everything that base and both sides name.

    All deletions are refused together if a side is empty or holds something unreadable, or if they are more
    than the budget allows: each of these looks exactly like a mistake. No budget: a person has asked for all
    of them.
    """
    decisions = [reconcile(item, rules) for item in items]
    deleted = sum(decision.outcome is Outcome.DELETE for decision in decisions)
    reason = _explain_no_deletions(items, deleted=deleted, budget=budget) if deleted else None
    if reason is None:
        return decisions
    return [
        replace(decision, outcome=Outcome.REFUSED, reason=reason)
        if decision.outcome is Outcome.DELETE
        else decision
        for decision in decisions
    ]


def _explain_no_deletions(
    items: Sequence[Item], *, deleted: int, budget: DeletionBudget | None
) -> Reason | None:
    if any(Presence.UNREADABLE in {item.keeper.presence, item.target.presence} for item in items):
        return Reason.INCOMPLETE
    # A target cannot be empty here: the secret to delete was just seen there.
    if not any(item.keeper.presence is Presence.PRESENT for item in items):
        return Reason.EMPTY
    if budget is not None and not budget.allows(deleted=deleted, owned=count_owned(items)):
        return Reason.OVER_BUDGET
    return None


def count_owned(items: Iterable[Item]) -> int:
    """Return how many secrets are ours and there; what waits out its recovery window is not."""
    return sum(item.owned and item.target.presence is Presence.PRESENT for item in items)
