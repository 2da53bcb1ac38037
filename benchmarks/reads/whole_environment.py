"""An environment of 1,000 secrets by one export, against OpenBao's 1,000 reads and its one large object."""

import statistics
from collections import defaultdict

from benchmarks.measuring.client import all_of
from benchmarks.measuring.scale import CLIENTS, Scale
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.servers import SECRETS, openbao_reads

READS_TARGETS = {SQLITE: Target(60, 100), MARIADB: Target(40, 100)}
OBJECT_TARGETS = {SQLITE: Target(1.0, 1.5), MARIADB: Target(0.8, 1.5)}
# An export is over in milliseconds: one figure is the median of several.
REPEATS = 10
UNCHANGED, CHANGED = f"an environment of {SECRETS:,}", f"an environment of {SECRETS:,} after a write in it"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure each way of reading all values, of what is as it was and of what has just changed."""
    openbao = stage.openbao()
    keepers = {database: stage.keeper(database) for database in stage.databases}
    ours: dict[tuple[str, str], list[float]] = defaultdict(list)
    objects: dict[str, list[float]] = defaultdict(list)
    reads: list[float] = []
    for _ in range(scale.rounds):
        for database, keeper in keepers.items():
            ours[database, UNCHANGED].append(_median_ms(keeper.port, [keeper.export_request] * REPEATS))
            in_turn = keeper.changes_before_exports(REPEATS)
            ours[database, CHANGED].append(_median_ms(keeper.port, in_turn, step=2))
        objects[UNCHANGED].append(_median_ms(openbao.port, [openbao.object_request] * REPEATS))
        objects[CHANGED].append(_median_ms(openbao.port, openbao.changes_before_objects(REPEATS), step=2))
        load = all_of(openbao.port, openbao_reads(openbao.client()), clients=CLIENTS)
        reads.append(load.seconds * 1000)
    return [
        _row(work, database, ours[database, work], name, figures, targets[database])
        for database in stage.databases
        for work in (UNCHANGED, CHANGED)
        for name, figures, targets in (
            (f"OpenBao, {SECRETS:,} reads", reads, READS_TARGETS),
            (f"OpenBao, one object of {SECRETS:,}", objects[work], OBJECT_TARGETS),
        )
    ]


def _median_ms(port: int, requests: list[bytes], *, step: int = 1) -> float:
    """Return the median time of each request, or of each second one, sent one after the other."""
    latencies = all_of(port, requests, clients=1).latencies
    return statistics.median(latencies[step - 1 :: step]) * 1000


def _row(
    work: str, database: str, ours: list[float], name: str, theirs: list[float], target: Target
) -> Comparison:
    return Comparison(
        work=work,
        database=database,
        unit="ms",
        keeper=ours,
        other=name,
        other_figures=theirs,
        target=target,
        less_is_better=True,
    )
