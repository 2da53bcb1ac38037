"""One value written beside 100,000 secrets, against the same write beside 1,000 in the same run."""

from typing import Final

from benchmarks.client import for_seconds
from benchmarks.one_write import writes_to
from benchmarks.scale import Scale
from benchmarks.stage import SECRETS, Stage
from benchmarks.table import Comparison, Row, Target

TARGET: Final = Target(0.9, 1.0)


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Compare on each database, with one client."""
    return [_compared(stage, scale, database) for database in stage.databases]


def _compared(stage: Stage, scale: Scale, database: str) -> Row:
    """Measure two Keepers in turns; each is written to in another environment than the one that is filled."""
    few, many = (stage.keeper_of_its_own(database, name) for name in ("few", "many"))
    for number in range(scale.listed // SECRETS):
        many.create("production", SECRETS, f"other-{number}")
    contestants = {keeper: writes_to(keeper) for keeper in (few, many)}
    times: dict[object, list[float]] = {few: [], many: []}
    for _ in range(scale.rounds):
        for keeper, requests in contestants.items():
            load = for_seconds(keeper.port, requests, clients=1, seconds=scale.seconds)
            times[keeper].append(load.median_ms)
    return Comparison(
        work=f"one write beside {scale.listed:,} secrets",
        database=database,
        unit="median ms",
        keeper=times[many],
        other=f"Keeper, beside {SECRETS:,}",
        other_figures=times[few],
        target=TARGET,
        less_is_better=True,
    )
