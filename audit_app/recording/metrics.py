"""What is measured of the audit log. Labels are words of its vocabulary, so that their number is bounded."""

from collections.abc import Iterable
from functools import cache
from typing import Final, Protocol

from django.db import connection, transaction
from prometheus_client import Counter, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

EVENTS: Final = Counter("keeper_events", "Committed events of the trail.", ["action", "outcome"])
APPEND_SECONDS: Final = Histogram(
    "keeper_audit_append_seconds", "Time until a read's event is committed.", buckets=_SECONDS
)


class Counted(Protocol):
    """What an event is counted by."""

    @property
    def action(self) -> str:
        """What was done."""

    @property
    def outcome(self) -> str:
        """How it ended."""


def count_events(drafts: Iterable[Counted]) -> None:
    """Count events that were written, once they are committed; those of a rolled back transaction never."""
    if connection.in_atomic_block:
        transaction.on_commit(lambda: _count(drafts))
    else:
        _count(drafts)


def _count(drafts: Iterable[Counted]) -> None:
    kinds: dict[tuple[str, str], int] = {}
    for draft in drafts:
        kind = draft.action, draft.outcome
        kinds[kind] = kinds.get(kind, 0) + 1
    for (action, outcome), number in kinds.items():
        _counter_of(action, outcome).inc(number)


@cache
def _counter_of(action: str, outcome: str) -> Counter:
    """Return the counter of a kind of event: looking a label up takes a lock, and comes with each read."""
    return EVENTS.labels(str(action), str(outcome))
