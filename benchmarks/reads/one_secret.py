"""One value by the API, recorded, random ones of many: Keeper, the bare framework, and OpenBao."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.measuring.client import Endpoint, random_for_seconds
from benchmarks.measuring.scale import BY_ID, BY_NAME, FLOOR, OPENBAO, OPENBAO_ROOT, Scale
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.measuring.turns import Competitor, Turn, compared, in_turns
from benchmarks.servers import openbao_path

KEEPER = "Keeper"
NAMES = {FLOOR: "bare DRF", OPENBAO: "OpenBao", OPENBAO_ROOT: "OpenBao, root token"}
FLOOR_TARGETS = {SQLITE: Target(2.0, 3.0), MARIADB: Target(2.0, 3.0)}
OPENBAO_TARGETS = {SQLITE: Target(1.3, 2.0), MARIADB: Target(1.05, 1.3)}
OPENBAO_MEDIAN_TARGETS = {SQLITE: Target(1.2, 1.5), MARIADB: Target(0.8, 1.0)}
GROWTH_TARGET = Target(0.9, 1.0)
_SEED = 20_261_127

Turns = Mapping["Who", Sequence[Turn]]


@dataclass(frozen=True)
class Who:
    """A competitor: what it is, on which database, how many secrets it has, how they are read."""

    kind: str
    database: str
    size: int
    way: str = BY_ID


@dataclass(frozen=True)
class Reads:
    """Where the secrets of a competitor are read, and the processes that answer."""

    who: Who
    endpoint: Endpoint
    paths: Sequence[str]
    processes: Callable[[], set[int]]

    @property
    def described(self) -> str:
        """What is asked, so that a reader can ask it again."""
        header = next(iter(self.endpoint.headers))
        name = f"{NAMES.get(self.who.kind, self.who.kind)} {self.who.database}".strip()
        return f"{name}: GET {self.paths[-1]}, a random one of {len(self.paths):,}, with {header}"

    @property
    def competitor(self) -> Competitor:
        """The competitor that random reads are sent to."""
        requests = self.endpoint.random_reads(self.paths, seed=_SEED)
        return Competitor(partial(random_for_seconds, self.endpoint.port, requests), self.processes)


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure with each number of clients, all competitors in turns."""
    reads = [each for size in scale.sizes for each in _reads(stage, scale, size)]
    for each in reads:
        sys.stderr.write(f"{each.described}\n")
    competitors = {each.who: each.competitor for each in reads}
    rows: list[Row] = []
    for clients in scale.clients:
        turns = in_turns(competitors, scale, clients=clients)
        for database in stage.databases:
            rows += _rows(turns, scale, database, clients)
    return rows


def _reads(stage: Stage, scale: Scale, size: int) -> Iterator[Reads]:
    for database in stage.databases:
        keeper = stage.keeper(database, size)
        processes = partial(stage.processes_of, keeper, database)
        for way in scale.ways:
            paths = keeper.read_paths(way)
            yield Reads(Who(KEEPER, database, size, way), keeper.client("development"), paths, processes)
        if FLOOR in scale.peers:
            floor = stage.floor(database, size)
            paths = [f"/secrets/{number + 1}" for number in range(size)]
            processes = partial(stage.processes_of, floor, database)
            yield Reads(Who(FLOOR, database, size), floor.client(), paths, processes)
    for peer in (OPENBAO, OPENBAO_ROOT):
        if peer in scale.peers:
            openbao = stage.openbao(size)
            paths = [openbao_path(number) for number in range(size)]
            endpoint = openbao.client() if peer == OPENBAO else openbao.root_client()
            yield Reads(Who(peer, "", size), endpoint, paths, partial(stage.processes_of, openbao))


def _rows(turns: Turns, scale: Scale, database: str, clients: int) -> Iterator[Row]:
    for size in scale.sizes:
        for way in scale.ways:
            who = Who(KEEPER, database, size, way)
            for peer in scale.peers:
                other = Who(peer, database if peer == FLOOR else "", size)
                yield _row(turns, who, other, clients)
    small, large = (Who(KEEPER, database, size) for size in (min(scale.sizes), max(scale.sizes)))
    if small != large:
        yield _row(turns, large, small, clients)


def _row(turns: Turns, who: Who, other: Who, clients: int) -> Comparison:
    ours, theirs = turns[who], turns[other]
    work = f"one of {who.size:,} secrets"
    if who.way == BY_NAME:
        work += " by name"
    return compared(
        f"{work}, {clients} client{'s' if clients > 1 else ''}",
        who.database,
        ours,
        NAMES.get(other.kind) or f"Keeper, one of {other.size:,}",
        theirs,
        alone=clients == 1,
        target=_target(who, other, clients),
    )


def _target(who: Who, other: Who, clients: int) -> Target | None:
    if other.kind == KEEPER:
        return GROWTH_TARGET
    if clients == 1:
        return None if other.kind == FLOOR else OPENBAO_MEDIAN_TARGETS[who.database]
    return (FLOOR_TARGETS if other.kind == FLOOR else OPENBAO_TARGETS)[who.database]
