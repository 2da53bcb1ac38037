"""The delivery states of a secret at a target, which pages, API and alerts share."""

from enum import StrEnum
from typing import Final

from sync_app.domain.reconciliation import Outcome


class State(StrEnum):
    """The state of a secret at one target, as of the last check."""

    IN_SYNC = "in_sync"
    # Keeper's value is newer than what was last synced.
    PENDING = "pending"
    # The target's value is another than what was last synced.
    DRIFTED = "drifted"
    CONFLICT = "conflict"
    MISSING = "missing"
    UNMANAGED = "unmanaged"
    # It was owned, and the existing secret no longer proves it: it is never overwritten.
    OWNERSHIP_LOST = "ownership_lost"
    REFUSED = "refused"
    FAILED = "failed"


# What someone has to look at.
ALERTING: Final = frozenset(
    {State.DRIFTED, State.CONFLICT, State.MISSING, State.OWNERSHIP_LOST, State.FAILED}
)

_AFTER_PLANNING: Final = {
    Outcome.UNCHANGED: State.IN_SYNC,
    Outcome.CREATE: State.PENDING,
    Outcome.UPDATE: State.PENDING,
    Outcome.DELETE: State.PENDING,
    Outcome.PULL: State.DRIFTED,
    Outcome.CONFLICT: State.CONFLICT,
    Outcome.DRIFTED: State.DRIFTED,
    Outcome.MISSING: State.MISSING,
    Outcome.UNMANAGED: State.UNMANAGED,
    Outcome.OWNERSHIP_LOST: State.OWNERSHIP_LOST,
    Outcome.REFUSED: State.REFUSED,
}


def state_of(outcome: Outcome) -> State:
    """Return how a secret stands for which `reconcile` decided this and nothing was done yet."""
    return _AFTER_PLANNING[outcome]
