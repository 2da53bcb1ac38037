"""What Keeper costs before anybody asks for anything: the time to its start, and memory beside OpenBao."""

import time
from typing import ClassVar

from benchmarks.measuring.processes import memory_mb
from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Figure, Row
from benchmarks.servers import Keeper

# What starting leaves behind is given back by then.
_REST_SECONDS = 5.0
_STARTS = 2


class WholeKeeper(Keeper):
    """Keeper as `keeper run` starts it: web server, worker and beat."""

    name: ClassVar[str] = "whole-keeper"

    def command(self) -> list[str]:
        """Return `keeper run` with everything."""
        return [part for part in super().command() if part != "--no-worker"]

    def ready(self) -> bool:
        """Say whether /readyz does."""
        return super().ready() and self.answers("/readyz")

    def prepare_running(self) -> None:
        """Store nothing."""


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Start Keeper again on a database that is there, and look at its memory once it rests."""
    openbao = stage.idle_openbao()
    rows: list[Row] = []
    for database in stage.databases:
        starts, kept = _measured(stage, database, min(scale.rounds, _STARTS))
        rows += [
            Figure("cold start until /readyz, ms", database, sorted(starts)[len(starts) // 2]),
            Comparison(
                work="memory of web and worker, idle",
                database=database,
                unit="MB",
                keeper=kept,
                other="OpenBao, idle",
                other_figures=[memory_mb(openbao)] * len(kept),
            ),
        ]
    return rows


def _measured(stage: Stage, database: str, rounds: int) -> tuple[list[float], list[float]]:
    starts, kept = [], []
    for server in stage.idle_keepers(WholeKeeper, database, rounds):
        started = time.perf_counter()
        server.start()
        server.wait()
        starts.append((time.perf_counter() - started) * 1000)
        time.sleep(_REST_SECONDS)
        kept.append(memory_mb(server.pid or 0))
        server.stop()
    # The first one made the database.
    return starts[1:], kept[1:]
