"""1,000 creates in one call, against OpenBao's 1,000 writes."""

from benchmarks.measuring.client import all_of
from benchmarks.measuring.scale import CLIENTS, Scale
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.servers import SECRETS, openbao_writes

TARGETS = {SQLITE: Target(20, 35), MARIADB: Target(15, 35)}


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Create 1,000 new names in each round; OpenBao gets them from eight clients."""
    openbao = stage.openbao().client()
    theirs: list[float] = []
    ours: dict[str, list[float]] = {database: [] for database in stage.databases}
    for number in range(scale.rounds):
        prefix = f"round-{number}"
        for database in stage.databases:
            keeper = stage.keeper(database)
            request = keeper.bulk_request("staging", range(SECRETS), prefix)
            ours[database].append(all_of(keeper.port, [request], clients=1).seconds * 1000)
        load = all_of(openbao.port, openbao_writes(openbao, range(SECRETS), prefix), clients=CLIENTS)
        theirs.append(load.seconds * 1000)
    return [
        Comparison(
            work=f"{SECRETS:,} creates in one call",
            database=database,
            unit="ms",
            keeper=ours[database],
            other=f"OpenBao, {SECRETS:,} writes",
            other_figures=theirs,
            target=TARGETS[database],
            less_is_better=True,
        )
        for database in stage.databases
    ]
