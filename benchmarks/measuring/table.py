"""What was measured, as rows of one table with ratios against their targets."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- benchmarks: begin -->"
END = "<!-- benchmarks: end -->"
HISTORY = "<!-- benchmarks: history -->"
_HEAD = (
    "work",
    "database",
    "Keeper",
    "CPU, µs",
    "against",
    "its figure",
    "its CPU, µs",
    "ratio",
    "spread",
    "reach",
    "after",
)


@dataclass(frozen=True)
class Target:
    """The ratio to reach, and the one that we are after; `at_most` where less is better."""

    reach: float
    after: float
    at_most: bool = False

    def is_met(self, ratio: float) -> bool:
        """Say whether a ratio reaches the target."""
        return ratio <= self.reach if self.at_most else ratio >= self.reach

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.reach:g}"


@dataclass(frozen=True)
class Comparison:
    """Keeper against something else, one figure of each for every round.

    `less_is_better` is for times: the ratio then says how many times faster Keeper is. CPU is that of the
    servers for one request.
    """

    work: str
    database: str
    unit: str
    keeper: Sequence[float]
    other: str
    other_figures: Sequence[float]
    target: Target | None = None
    less_is_better: bool = False
    keeper_cpu_us: float | None = None
    other_cpu_us: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Keeper's ratio in each round."""
        pairs = zip(self.keeper, self.other_figures, strict=True)
        return [theirs / ours if self.less_is_better else ours / theirs for ours, theirs in pairs]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    def cells(self) -> list[str]:
        """Return the row of the table."""
        ratio = _figure(self.ratio)
        if self.target and not self.target.is_met(self.ratio):
            ratio = f"**{ratio}**"
        return [
            f"{self.work}, {self.unit}",
            self.database,
            _figure(statistics.median(self.keeper)),
            _optional(self.keeper_cpu_us),
            self.other,
            _figure(statistics.median(self.other_figures)),
            _optional(self.other_cpu_us),
            ratio,
            f"{_figure(min(self.ratios))} to {_figure(max(self.ratios))}",
            str(self.target) if self.target else "",
            f"{self.target.after:g}" if self.target else "",
        ]


@dataclass(frozen=True)
class Figure:
    """Something of Keeper's alone; `minimum` or `maximum` is its target."""

    work: str
    database: str
    value: float
    minimum: float | None = None
    maximum: float | None = None
    after: float | None = None

    def cells(self) -> list[str]:
        """Return the row of the table."""
        text = _figure(self.value)
        low, high = self.minimum, self.maximum
        if (low is not None and self.value < low) or (high is not None and self.value > high):
            text = f"**{text}**"
        target = f"≥ {low:,.0f}" if low is not None else f"≤ {high:,.0f}" if high is not None else ""
        return [self.work, self.database, text, "", "", "", "", "", "", target, _optional(self.after)]


Row = Comparison | Figure


def markdown(rows: Sequence[Row]) -> str:
    """Return the table; a ratio that misses its target stands in bold."""
    lines = [_HEAD, tuple("---" for _ in _HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(path: Path, text: str) -> None:
    """Put the text between the markers of a document, and what was there at the head of its history.

    A text begins with a line on where and when it was measured. Raises ValueError if a marker is missing.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    between, history, earlier = after.partition(HISTORY)
    if not (begin and end and history):
        raise ValueError(f"{path} lacks one of the lines {BEGIN}, {END} and {HISTORY}")
    kept = _folded(old.strip()) if old.strip() else ""
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{between}{HISTORY}\n{kept}{earlier}")


def _folded(old: str) -> str:
    heading, _, rows = old.partition("\n\n")
    return f"\n<details><summary>{heading}</summary>\n\n{rows}\n\n</details>\n"


def _optional(value: float | None) -> str:
    return "" if value is None else _figure(value)


def _figure(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
