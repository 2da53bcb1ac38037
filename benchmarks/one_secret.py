"""One value by the API, recorded: Keeper, the bare framework on the same database, and OpenBao."""

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.client import Load, for_seconds
from benchmarks.scale import Scale
from benchmarks.stage import CLIENTS, MARIADB, SQLITE, Stage, openbao_reads
from benchmarks.table import Comparison, Row, Target

FLOOR_TARGETS = {SQLITE: Target(1.0, 1.5), MARIADB: Target(0.9, 1.5)}
OPENBAO_TARGETS = {SQLITE: Target(0.5, 1.0), MARIADB: Target(0.3, 1.0)}
OPENBAO = "OpenBao"

Contestants = dict[str, tuple[int, list[bytes]]]


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure with one client and with eight."""
    contestants = _contestants(stage)
    rows: list[Row] = []
    for clients in (1, CLIENTS):
        loads = _loads(contestants, scale, clients)
        for database in stage.databases:
            rows += _rows(loads, database, clients)
    return rows


def _contestants(stage: Stage) -> Contestants:
    """Return the port of each and the requests that read a thousand secrets in turn."""
    found: Contestants = {}
    for database in stage.databases:
        keeper, floor = stage.keeper(database), stage.floor(database)
        way_in = keeper.client("development")
        found[f"Keeper {database}"] = (
            keeper.port,
            [way_in.request("GET", f"/api/secrets/{number}") for number in keeper.secret_ids],
        )
        found[f"floor {database}"] = (
            floor.port,
            [floor.client().request("GET", f"/secrets/{n + 1}") for n in range(len(keeper.secret_ids))],
        )
    found[OPENBAO] = (stage.openbao.port, openbao_reads(stage.openbao))
    return found


def _loads(contestants: Contestants, scale: Scale, clients: int) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = defaultdict(list)
    for port, requests in contestants.values():
        for_seconds(port, requests, clients=clients, seconds=scale.seconds / 4)
    for _ in range(scale.rounds):
        for name, (port, requests) in contestants.items():
            loads[name].append(for_seconds(port, requests, clients=clients, seconds=scale.seconds))
    return loads


def _rows(loads: dict[str, list[Load]], database: str, clients: int) -> list[Row]:
    ours = loads[f"Keeper {database}"]
    others = [
        ("bare DRF", loads[f"floor {database}"], FLOOR_TARGETS[database]),
        (OPENBAO, loads[OPENBAO], OPENBAO_TARGETS[database]),
    ]
    if clients == 1:
        return [_latency(database, ours, name, theirs, target) for name, theirs, target in others]
    return [_throughput(database, ours, name, theirs, target) for name, theirs, target in others]


def _throughput(
    database: str, ours: Sequence[Load], name: str, theirs: Sequence[Load], target: Target
) -> Comparison:
    return Comparison(
        work=f"one secret, {CLIENTS} clients",
        database=database,
        unit="requests/s",
        keeper=[load.per_second for load in ours],
        other=name,
        other_figures=[load.per_second for load in theirs],
        target=target,
    )


def _latency(
    database: str, ours: Sequence[Load], name: str, theirs: Sequence[Load], target: Target
) -> Comparison:
    return Comparison(
        work="one secret, 1 client",
        database=database,
        unit="median ms",
        keeper=[load.median_ms for load in ours],
        other=name,
        other_figures=[load.median_ms for load in theirs],
        # The targets of OpenBao are for eight clients.
        target=target if name != OPENBAO else None,
        less_is_better=True,
    )
