"""Damps a fight: another controller changes or deletes a secret each time that Keeper has written it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Max

from core.db.bulk import in_batches
from sync_app.domain.reconciliation import Decision, Reason
from sync_app.jobs.leases import database_now
from sync_app.models import PlanItem, Target
from sync_app.models.plan import Act, ItemState

WINDOW: Final = timedelta(hours=24)
# So many changes within the window are written over at once, and so many before a person is asked.
AT_ONCE: Final = 3
CONTESTED: Final = 6
FIRST_WAIT: Final = timedelta(minutes=5)
_CHANGED: Final = (str(Reason.TARGET_CHANGED), str(Reason.BOTH_CHANGED))
_DELETED: Final = (str(Reason.LOST), str(Reason.RESTORED))
_OVER: Final = _CHANGED + _DELETED
_WRITES: Final = (str(Act.UPDATE), str(Act.CREATE))


@dataclass(frozen=True, slots=True)
class WaitingWrite:
    """What becomes of a write that waits, and why it waits."""

    act: Act
    reason: str


def find_contested_writes(target: Target, decisions: Mapping[str, Decision]) -> dict[str, WaitingWrite]:
    """Return which writes over a foreign change or deletion wait, by their names.

    The wait doubles with each time that Keeper wrote that secret over such an act within the window; after
    `CONTESTED` times only a person's choice writes.
    """
    names = sorted(
        name
        for name, decision in decisions.items()
        if decision.outcome in _WRITES and decision.reason in _OVER
    )
    now = database_now()
    found: dict[str, WaitingWrite] = {}
    for some in in_batches(names):
        for name, times, last in _count_overwrites(target, some, now):
            if reason := _reason_to_wait(decisions[name], times, last, now):
                is_gone = decisions[name].reason in _DELETED
                found[name] = WaitingWrite(Act.MISSING if is_gone else Act.DRIFTED, reason)
    return found


def _reason_to_wait(decision: Decision, times: int, last: datetime, now: datetime) -> str:
    """Return why a write waits that was done so often; nothing if it need not."""
    did, does = ("deleted", "deletes it") if decision.reason in _DELETED else ("changed", "writes")
    often = f"{did} there again each time, {times} times in 24 hours, after Keeper wrote it"
    if times >= CONTESTED:
        return f"contested: {often}; find out who {does} there, then keep ours"
    due = last + FIRST_WAIT * 2 ** (times - AT_ONCE)
    return f"{often}: the next write waits until {due:%H:%M} UTC" if now < due else ""


def _count_overwrites(
    target: Target, names: Sequence[str], now: datetime
) -> Iterable[tuple[str, int, datetime]]:
    """Return how often, and when last, Keeper wrote these names over a change or a deletion."""
    rows = PlanItem.objects.filter(
        plan__target=target,
        name__in=names,
        act__in=_WRITES,
        state=ItemState.DONE,
        reason__in=_OVER,
        finished_at__gt=now - WINDOW,
    )
    counted = rows.order_by().values_list("name").annotate(times=Count("pk"), last=Max("finished_at"))
    return counted.filter(times__gte=AT_ONCE)
