"""Competitors in turns: what each serves in a second, how long a request takes, and the CPU time of one."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from benchmarks.measuring.processes import cpu_seconds
from benchmarks.measuring.scale import CLIENTS, Scale
from benchmarks.measuring.table import Comparison, Target

# Of a turn. By many clients, so that every process and thread has its first request.
_WARM_UP = 0.5
Key = TypeVar("Key", bound=Hashable)


class Sent(Protocol):
    """What sending requests for some time took, by any load generator."""

    @property
    def count(self) -> int:
        """How many were answered."""

    @property
    def per_second(self) -> float:
        """How many were answered in a second."""

    @property
    def median_ms(self) -> float:
        """The median time of one, in milliseconds."""


@dataclass(frozen=True)
class Competitor:
    """Sends requests from so many clients for so many seconds, and names the processes that answer."""

    send: Callable[[int, float], Sent]
    processes: Callable[[], set[int]]


@dataclass(frozen=True)
class Turn:
    """What one competitor did in one turn."""

    per_second: float
    median_ms: float
    cpu_us: float


def in_turns(competitors: Mapping[Key, Competitor], scale: Scale, *, clients: int) -> dict[Key, list[Turn]]:
    """Let each competitor have its turn in each round; every other round goes backwards."""
    found: dict[Key, list[Turn]] = defaultdict(list)
    for competitor in competitors.values():
        competitor.send(CLIENTS, scale.seconds * _WARM_UP)
    order = list(competitors)
    for _ in range(scale.rounds):
        for key in order:
            found[key].append(_turn(competitors[key], clients, scale.seconds))
        order.reverse()
    return found


def compared(
    work: str,
    database: str,
    ours: Sequence[Turn],
    other: str,
    theirs: Sequence[Turn],
    *,
    alone: bool,
    target: Target | None = None,
) -> Comparison:
    """Return the row of two competitors: of one client the median time, of several the requests a second."""
    return Comparison(
        work=work,
        database=database,
        unit="p50 ms" if alone else "requests/s",
        keeper=[turn.median_ms if alone else turn.per_second for turn in ours],
        other=other,
        other_figures=[turn.median_ms if alone else turn.per_second for turn in theirs],
        target=target,
        less_is_better=alone,
        keeper_cpu_us=statistics.median(turn.cpu_us for turn in ours),
        other_cpu_us=statistics.median(turn.cpu_us for turn in theirs),
    )


def _turn(competitor: Competitor, clients: int, seconds: float) -> Turn:
    processes = competitor.processes()
    before = cpu_seconds(processes)
    sent = competitor.send(clients, seconds)
    used = cpu_seconds(processes) - before
    return Turn(sent.per_second, sent.median_ms, used * 1e6 / sent.count)
