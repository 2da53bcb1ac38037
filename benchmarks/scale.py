"""How much a run measures: enough for ratios in the usual run, next to nothing in a quick one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The size of a run."""

    rounds: int
    seconds: float
    listed: int
    verified: int


USUAL = Scale(rounds=5, seconds=1.0, listed=100_000, verified=100_000)
QUICK = Scale(rounds=2, seconds=0.3, listed=5_000, verified=5_000)
