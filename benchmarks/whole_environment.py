"""An environment of 1,000 secrets by one export, against OpenBao's 1,000 reads and its one large object."""

from benchmarks.client import all_of
from benchmarks.scale import CLIENTS, Scale
from benchmarks.servers import SECRETS, openbao_reads
from benchmarks.stage import MARIADB, SQLITE, Stage
from benchmarks.table import Comparison, Row, Target

READS_TARGETS = {SQLITE: Target(60, 100), MARIADB: Target(40, 100)}
OBJECT_TARGETS = {SQLITE: Target(1.0, 1.5), MARIADB: Target(0.8, 1.5)}
# An export is over in milliseconds: one figure is the median of several.
REPEATS = 10


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure each way of reading all values."""
    server = stage.openbao()
    openbao = server.client()
    exports = {database: _export(stage, database) for database in stage.databases}
    one_object = (openbao.port, [server.object_request] * REPEATS)
    ours: dict[str, list[float]] = {database: [] for database in stage.databases}
    reads: list[float] = []
    objects: list[float] = []
    for _ in range(scale.rounds):
        for database, (port, requests) in exports.items():
            ours[database].append(all_of(port, requests, clients=1).median_ms)
        objects.append(all_of(*one_object, clients=1).median_ms)
        reads.append(all_of(openbao.port, openbao_reads(openbao), clients=CLIENTS).seconds * 1000)
    rows: list[Row] = []
    for database in stage.databases:
        rows.append(_row(database, ours, f"OpenBao, {SECRETS:,} reads", reads, READS_TARGETS[database]))
        rows.append(
            _row(database, ours, f"OpenBao, one object of {SECRETS:,}", objects, OBJECT_TARGETS[database])
        )
    return rows


def _export(stage: Stage, database: str) -> tuple[int, list[bytes]]:
    client = stage.keeper(database).client("development")
    path = "/api/environments/development/export?format=json"
    found = client.call("GET", path)
    if len(found) != SECRETS:
        raise RuntimeError(f"the export holds {len(found)} secrets instead of {SECRETS}")
    return client.port, [client.request("GET", path)] * REPEATS


def _row(
    database: str, ours: dict[str, list[float]], name: str, theirs: list[float], target: Target
) -> Comparison:
    return Comparison(
        work=f"an environment of {SECRETS:,}",
        database=database,
        unit="ms",
        keeper=ours[database],
        other=name,
        other_figures=theirs,
        target=target,
        less_is_better=True,
    )
