"""Damps a fight: another controller changes a secret each time that Keeper has written over its change."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Max

from sync_app.domain.reconciliation import Decision, Outcome, Reason
from sync_app.jobs.leases import database_now
from sync_app.models import PlanItem, Target
from sync_app.models.plan import Act, ItemState

WINDOW: Final = timedelta(hours=24)
# So many changes within the window are written over at once, and so many before a person is asked.
AT_ONCE: Final = 3
CONTESTED: Final = 6
FIRST_WAIT: Final = timedelta(minutes=5)
_OVER: Final = (str(Reason.TARGET_CHANGED), str(Reason.BOTH_CHANGED))
_NAMES_AT_A_TIME: Final = 500


def held_back(target: Target, decisions: Mapping[str, Decision]) -> dict[str, str]:
    """Return which writes over somebody's change wait, by their names, and why.

    The wait doubles with each time that Keeper wrote over a change of that secret within the window; after
    `CONTESTED` times only a person's choice writes.
    """
    names = sorted(name for name, decision in decisions.items() if _is_over(decision))
    now = database_now()
    found: dict[str, str] = {}
    for start in range(0, len(names), _NAMES_AT_A_TIME):
        for name, times, last in _written_over(target, names[start : start + _NAMES_AT_A_TIME], now):
            if times >= CONTESTED:
                found[name] = f"contested: {_often(times)}; find out who writes there, then keep ours"
                continue
            due = last + FIRST_WAIT * 2 ** (times - AT_ONCE)
            if now < due:
                found[name] = f"{_often(times)}: the next write waits until {due:%H:%M} UTC"
    return found


def _is_over(decision: Decision) -> bool:
    return decision.outcome is Outcome.UPDATE and decision.reason in _OVER


def _often(times: int) -> str:
    return f"changed there again each time, {times} times in 24 hours, after Keeper wrote over it"


def _written_over(target: Target, names: list[str], now: datetime) -> Iterable[tuple[str, int, datetime]]:
    """Return how often, and when last, Keeper wrote over a change of these names."""
    rows = PlanItem.objects.filter(
        plan__target=target,
        name__in=names,
        act=Act.UPDATE,
        state=ItemState.DONE,
        reason__in=_OVER,
        finished_at__gt=now - WINDOW,
    )
    counted = rows.order_by().values_list("name").annotate(times=Count("pk"), last=Max("finished_at"))
    return counted.filter(times__gte=AT_ONCE)
