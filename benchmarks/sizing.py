"""Where the next limit lies at 10, 100 and 1,000 times the load: `python -m benchmarks.sizing`.

A simulation, with service times whose totals are measured (internals/performance.md), of what a request waits
for: its web process (one interpreter lock, one engine that records reads in batches), the heads of the audit
log that a batch or a write locks until its commit is on the disk, and the cores of MariaDB. sizing.md
has what it found.
"""

import argparse
import heapq
import itertools
import random
import statistics
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

MICRO: Final = 1e-6
BASE_READS: Final = 100.0
BASE_WRITES: Final = 5.0
MOST_OF_A_BATCH: Final = 100
# An answer is good if it comes within this.
GOOD_P99_SECONDS: Final = 0.1
_SEED: Final = 20_261_128


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of CPU: of a request in its web process, of a batch, and in MariaDB; `commit` is the disk's."""

    read_web: float = 220 * MICRO
    batch_web: float = 840 * MICRO
    batch_database: float = 590 * MICRO
    read_database: float = 70 * MICRO
    write_web: float = 3_700 * MICRO
    write_database: float = 2_000 * MICRO
    commit: float = 1_000 * MICRO


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is deployed. `databases` are independent: each has the environments of its share."""

    processes: int = 2
    database_cores: int = 4
    databases: int = 1
    environments: int = 30
    # How many web processes the proxy gives an environment; 0: all of them.
    spread: int = 0
    # Chains of the audit log for each environment, of which a web process appends to one.
    heads: int = 1
    times: Times = field(default_factory=Times)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulated load met."""

    answered: float
    p50: float
    p99: float
    web: float
    busiest_web: float
    database: float
    busiest_head: float

    @property
    def is_good(self) -> bool:
        """Whether all was answered in time."""
        return self.answered > 0.98 and self.p99 <= GOOD_P99_SECONDS

    @property
    def limit(self) -> str:
        """Return what is nearest to its end."""
        shares = {
            "a web process": self.busiest_web,
            "MariaDB's cores": self.database,
            "a head": self.busiest_head,
        }
        return max(shares, key=lambda name: shares[name])


@dataclass
class _Job:
    """A batch of reads or one write, on its way."""

    arrivals: list[float]
    heads: list[int]
    web: float
    database: float
    process: int
    is_write: bool
    began: float = 0.0


class Simulation:
    """One load on one design, event by event."""

    def __init__(self, design: Design, *, reads: float, writes: float, seconds: float) -> None:
        self._design, self._seconds, self._draw = design, seconds, random.Random(_SEED)
        self._events: list[tuple[float, int, str, _Job | tuple[float, int, bool] | None]] = []
        self._order = itertools.count()
        # Environments are not alike: the second has half of the first one's load, the third a third.
        weights = [1 / rank for rank in range(1, design.environments + 1)]
        self._environments = list(itertools.accumulate(weights))
        self._waiting: list[deque[tuple[float, int, bool]]] = [deque() for _ in range(design.processes)]
        self._is_busy = [False] * design.processes
        self._heads: dict[int, deque[_Job]] = {}
        self._free_cores = [design.database_cores] * design.databases
        self._for_cores: list[deque[_Job]] = [deque() for _ in range(design.databases)]
        self._latencies: list[float] = []
        self._busy_webs = [0.0] * design.processes
        self._busy_database = 0.0
        self._busy_heads: dict[int, float] = {}
        self._arrived = 0
        for rate, is_write in ((reads, False), (writes, True)):
            self._arrive(rate, is_write=is_write)

    def run(self) -> Outcome:
        """Play all of it, and some time more for what is under way."""
        while self._events and self._events[0][0] <= self._seconds * 1.5:
            now, _, kind, what = heapq.heappop(self._events)
            getattr(self, f"_on_{kind}")(now, what)
        ordered = sorted(self._latencies) or [float("inf")]
        design, span = self._design, self._seconds
        return Outcome(
            answered=len(self._latencies) / max(1, self._arrived),
            p50=statistics.median(ordered),
            p99=ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
            web=sum(self._busy_webs) / span / design.processes,
            busiest_web=max(self._busy_webs) / span,
            database=self._busy_database / span / design.database_cores / design.databases,
            busiest_head=max(self._busy_heads.values(), default=0.0) / span,
        )

    def _at(self, when: float, kind: str, what: _Job | tuple[float, int, bool] | None) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, what))

    def _arrive(self, rate: float, *, is_write: bool) -> None:
        now = 0.0
        while rate and (now := now + self._draw.expovariate(rate)) < self._seconds:
            place = self._draw.random() * self._environments[-1]
            environment = next(n for n, upto in enumerate(self._environments) if place <= upto)
            self._at(now, "arrival", (now, environment, is_write))
            self._arrived += 1

    def _on_arrival(self, now: float, request: tuple[float, int, bool]) -> None:
        process = self._process(request[1])
        self._waiting[process].append(request)
        self._begin(now, process)

    def _process(self, environment: int) -> int:
        """Return where the proxy sends a request."""
        design = self._design
        if not design.spread:
            return self._draw.randrange(design.processes)
        return (environment * design.spread + self._draw.randrange(design.spread)) % design.processes

    def _begin(self, now: float, process: int) -> None:
        """Have a process take a write, or all reads that wait, if its interpreter is free."""
        waiting, times = self._waiting[process], self._design.times
        if self._is_busy[process] or not waiting:
            return
        self._is_busy[process] = True
        first = waiting.popleft()
        taken = [first]
        while not first[2] and waiting and not waiting[0][2] and len(taken) < MOST_OF_A_BATCH:
            taken.append(waiting.popleft())
        count = len(taken)
        web = times.write_web if first[2] else times.batch_web + count * times.read_web
        database = times.write_database if first[2] else times.batch_database + count * times.read_database
        chain, chains = process % self._design.heads, self._design.heads
        heads = sorted({environment * chains + chain for _, environment, _ in taken})
        job = _Job([each[0] for each in taken], heads, web, database, process, first[2])
        self._busy_webs[process] += web
        self._at(now + web, "computed", job)

    def _on_computed(self, now: float, job: _Job) -> None:
        # While a write waits for the database other threads compute; reads wait for their engine.
        if job.is_write:
            self._is_busy[job.process] = False
            self._begin(now, job.process)
        self._lock(now, job, 0)

    def _lock(self, now: float, job: _Job, place: int) -> None:
        """Take the locks of a job's heads in their order; wait where another has one."""
        for number in range(place, len(job.heads)):
            queue = self._heads.setdefault(job.heads[number], deque())
            queue.append(job)
            if queue[0] is not job:
                return
        job.began = now
        self._compute(now, job)

    def _compute(self, now: float, job: _Job) -> None:
        database = self._database(job)
        if self._free_cores[database]:
            self._free_cores[database] -= 1
            self._busy_database += job.database
            self._at(now + job.database, "stored", job)
        else:
            self._for_cores[database].append(job)

    def _database(self, job: _Job) -> int:
        """Return the server of a job, that of its first environment."""
        return job.heads[0] // self._design.heads % self._design.databases

    def _on_stored(self, now: float, job: _Job) -> None:
        database = self._database(job)
        self._free_cores[database] += 1
        if self._for_cores[database]:
            self._compute(now, self._for_cores[database].popleft())
        # Commits of different heads share the disk's write.
        self._at(now + self._design.times.commit, "committed", job)

    def _on_committed(self, now: float, job: _Job) -> None:
        for head in job.heads:
            self._busy_heads[head] = self._busy_heads.get(head, 0.0) + now - job.began
            queue = self._heads[head]
            queue.popleft()
            if queue:
                # On to the next head of a job that just got this one.
                self._lock(now, queue[0], queue[0].heads.index(head) + 1)
        self._latencies += [now - arrival for arrival in job.arrivals if arrival <= self._seconds]
        if not job.is_write:
            self._is_busy[job.process] = False
            self._begin(now, job.process)


HEADING: Final = """\
| load | design | webs | MariaDB | p50, ms | p99, ms | web | its CPU | head | carried |
|---|---|---|---|---|---|---|---|---|---|
"""


def designs(times: int, measured: Times) -> Iterator[tuple[str, Design]]:
    """Yield what is tried for a load, from one server on."""
    # Half of a process is left for lists, pages and peaks.
    need = times * (
        BASE_READS * (measured.read_web + measured.batch_web / 4) + BASE_WRITES * measured.write_web
    )
    processes = max(2, round(need / 0.5))
    cores = 4 if times <= 1 else 16
    one = Design(processes=processes, database_cores=cores, times=measured)
    yield "one MariaDB", one
    yield "the same, an environment to 2 web processes", replace(one, spread=2)
    # Certification by the other nodes takes as long again as the commit.
    yield "Galera, writers on one node", replace(one, times=replace(measured, commit=2 * measured.commit))
    for shards in (4, 16, 64):
        environments = max(one.environments, 10 * shards)
        sharded = replace(one, databases=shards, environments=environments, spread=2)
        yield f"{environments} environments on {shards} servers", sharded
    split = replace(sharded, spread=16, heads=16)
    yield f"{split.environments} environments on {split.databases} servers, 16 chains each", split


def row(times: int, name: str, design: Design, outcome: Outcome) -> str:
    """Return a line of the table."""
    verdict = "yes" if outcome.is_good else f"no: {outcome.limit}"
    figures = (
        f"{times:,}x", name, design.processes, design.databases, f"{outcome.p50 * 1000:.1f}",
        f"{outcome.p99 * 1000:,.0f}", f"{outcome.busiest_web:.0%}", f"{outcome.database:.0%}",
        f"{outcome.busiest_head:.0%}", verdict,
    )  # fmt: skip
    return f"| {' | '.join(map(str, figures))} |\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--commit-ms", type=float, default=1.0, help="of the disk of MariaDB (1)")
    parser.add_argument("--seconds", type=float, default=2.0, help="that are simulated (2)")
    options = parser.parse_args()
    measured = replace(Times(), commit=options.commit_ms / 1000)
    sys.stdout.write(HEADING)
    for times in (1, 10, 100, 1000):
        for name, design in designs(times, measured):
            load = {"reads": BASE_READS * times, "writes": BASE_WRITES * times, "seconds": options.seconds}
            sys.stdout.write(row(times, name, design, Simulation(design, **load).run()))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
