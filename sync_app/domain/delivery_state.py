"""The delivery states of a secret at a target, which pages, API and alerts share."""

from enum import StrEnum
from typing import Final, NamedTuple

from sync_app.domain.reconciliation import Outcome


class DeliveryState(StrEnum):
    """The state of a secret at one target, as of the last check."""

    IN_SYNC = "in_sync"
    # Keeper's value is newer than what was last synced.
    PENDING = "pending"
    # Keeper wrote it, and the target does not show it yet: what became of it is looked for again.
    UNKNOWN = "unknown"
    # The target's value is another than what was last synced.
    DRIFTED = "drifted"
    CONFLICT = "conflict"
    MISSING = "missing"
    UNMANAGED = "unmanaged"
    # It was owned, and the existing secret no longer proves it: it is never overwritten.
    OWNERSHIP_LOST = "ownership_lost"
    REFUSED = "refused"
    FAILED = "failed"


# So many passes in a row may leave a secret undelivered before someone is alerted. The first may meet another
# writer or a node that lags, and the second that it met one again: three in a row are no accident.
PASSES_UNTIL_ALERT: Final = 3
# What is alerted only after so many passes.
WAITING: Final = frozenset({DeliveryState.PENDING, DeliveryState.UNKNOWN})

# What someone has to look at.
ALERTING: Final = frozenset(
    {
        DeliveryState.DRIFTED,
        DeliveryState.CONFLICT,
        DeliveryState.MISSING,
        DeliveryState.OWNERSHIP_LOST,
        DeliveryState.FAILED,
    }
)

_AFTER_PLANNING: Final = {
    Outcome.UNCHANGED: DeliveryState.IN_SYNC,
    Outcome.CREATE: DeliveryState.PENDING,
    Outcome.UPDATE: DeliveryState.PENDING,
    Outcome.DELETE: DeliveryState.PENDING,
    Outcome.PULL: DeliveryState.DRIFTED,
}


def state_for_outcome(outcome: Outcome) -> DeliveryState:
    """Return how a secret stands for which `reconcile` decided this and nothing was done yet."""
    # The others are named alike.
    return _AFTER_PLANNING.get(outcome) or DeliveryState(outcome)


class ShownState(NamedTuple):
    """A delivery state as the pages show it; no word where the state's usual one fits."""

    state: str
    word: str = ""


def shown_state(state: str, *, delivered: int | None, current: int | None) -> ShownState:
    """Return how a secret's state at a target reads beside the version that Keeper has now.

    The stored state is as of the last look, so a value saved since then is still to be delivered.
    """
    if state == DeliveryState.IN_SYNC and delivered and current and current > delivered:
        return ShownState(DeliveryState.PENDING, f"pending: v{current} not delivered yet")
    return ShownState(state)
