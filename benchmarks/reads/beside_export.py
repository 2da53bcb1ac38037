"""Reads of one value while another client exports a whole environment without a pause, beside OpenBao's."""

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.measuring.client import Load, beside
from benchmarks.measuring.scale import BY_ID, CLIENTS, OPENBAO, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Figure, Row
from benchmarks.servers import SECRETS, openbao_path

MAXIMUM_MS, AFTER_MS = 30.0, 15.0
_SLOWEST = 0.99
_SEED = 20_261_127
_CHANGES = 100
UNCHANGED = f"one of {{size:,}} secrets, {CLIENTS - 1} clients, beside exports of {SECRETS:,}"
CHANGED = f"{UNCHANGED} with a write before each"

Both = tuple[Load, Load]
Measure = Callable[..., Both]


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure the slowest reads on each database, in turns with OpenBao."""
    size = min(scale.sizes)
    competitors = dict(_competitors(stage, scale, size))
    found: dict[tuple[str, str], list[Both]] = {key: [] for key in competitors}
    for _ in range(scale.rounds):
        for key, measure in competitors.items():
            found[key].append(measure(clients=CLIENTS, seconds=scale.seconds))
    return [
        row
        for database in stage.databases
        for work in (UNCHANGED, CHANGED)
        for row in _rows(database, work.format(size=size), found[database, work], found.get((OPENBAO, work)))
    ]


def _competitors(stage: Stage, scale: Scale, size: int) -> Iterator[tuple[tuple[str, str], Measure]]:
    for database in stage.databases:
        keeper = stage.keeper(database, size)
        reads = keeper.client("development").random_reads(keeper.read_paths(BY_ID), seed=_SEED)
        for work, others in (
            (UNCHANGED, [keeper.export_request]),
            (CHANGED, keeper.changes_before_exports(_CHANGES)),
        ):
            yield (database, work), partial(beside, keeper.port, reads, others)
    if OPENBAO in scale.peers:
        openbao = stage.openbao(size)
        paths = [openbao_path(number) for number in range(size)]
        reads = openbao.client().random_reads(paths, seed=_SEED)
        for work, others in (
            (UNCHANGED, [openbao.object_request]),
            (CHANGED, openbao.changes_before_objects(_CHANGES)),
        ):
            yield (OPENBAO, work), partial(beside, openbao.port, reads, others)


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
            unit="other requests/s beside the reads",
            keeper=[exports.per_second for _, exports in ours],
            other_figures=[objects.per_second for _, objects in theirs],
        ),
    ]
