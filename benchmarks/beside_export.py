"""Reads of one value while another client exports a whole environment without a pause, beside OpenBao's."""

from collections.abc import Callable
from functools import partial

from benchmarks.client import Load, beside
from benchmarks.scale import BY_ID, CLIENTS, OPENBAO, Scale
from benchmarks.servers import SECRETS, openbao_path
from benchmarks.stage import Stage
from benchmarks.table import Comparison, Figure, Row

MAXIMUM_MS, AFTER_MS = 30.0, 15.0
_SLOWEST = 0.99
_SEED = 20_261_127
_WORK = f"one of {{size:,}} secrets, {CLIENTS - 1} clients, while {SECRETS:,} are exported over and over"

Both = tuple[Load, Load]


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure the slowest reads on each database, in turns with OpenBao."""
    size = min(scale.sizes)
    competitors = {database: _keeper(stage, database, size) for database in stage.databases}
    if OPENBAO in scale.peers:
        competitors[OPENBAO] = _openbao(stage, size)
    found: dict[str, list[Both]] = {name: [] for name in competitors}
    for _ in range(scale.rounds):
        for name, measure in competitors.items():
            found[name].append(measure(clients=CLIENTS, seconds=scale.seconds))
    return [
        row
        for database in stage.databases
        for row in _rows(database, _WORK.format(size=size), found[database], found.get(OPENBAO))
    ]


def _keeper(stage: Stage, database: str, size: int) -> Callable[..., Both]:
    keeper = stage.keeper(database, size)
    reads = keeper.client("development").random_reads(keeper.read_paths(BY_ID), seed=_SEED)
    return partial(beside, keeper.port, reads, keeper.export_request)


def _openbao(stage: Stage, size: int) -> Callable[..., Both]:
    openbao = stage.openbao(size)
    reads = openbao.client().random_reads([openbao_path(number) for number in range(size)], seed=_SEED)
    return partial(beside, openbao.port, reads, openbao.object_request)


def _rows(database: str, work: str, ours: list[Both], theirs: list[Both] | None) -> list[Row]:
    times = [time for reads, _ in ours for time in reads.latencies]
    slowest = Load(sum(reads.seconds for reads, _ in ours), times).slowest_ms(_SLOWEST)
    rows: list[Row] = [Figure(f"{work}, p99 ms", database, slowest, maximum=MAXIMUM_MS, after=AFTER_MS)]
    if theirs is None:
        return rows
    compared = partial(Comparison, database=database, other=f"OpenBao, beside its object of {SECRETS:,}")
    return [
        *rows,
        compared(
            work=work,
            unit="p99 ms of each round",
            keeper=[reads.slowest_ms(_SLOWEST) for reads, _ in ours],
            other_figures=[reads.slowest_ms(_SLOWEST) for reads, _ in theirs],
            less_is_better=True,
        ),
        compared(
            work=work,
            unit="exports/s beside the reads",
            keeper=[exports.per_second for _, exports in ours],
            other_figures=[objects.per_second for _, objects in theirs],
        ),
    ]
