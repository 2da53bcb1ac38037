"""The geometry of the dashboard's charts, which the server draws as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

WIDTH, HEIGHT, BASELINE = 720, 132, 112
SERIES = ("reads", "writes", "denials")
_GAP = 0.28


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One coloured piece of a bar, in user units of the drawing."""

    series: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One day: its segments from the baseline upwards and the words that say the same."""

    day: date
    counts: dict[str, int]
    segments: tuple[Segment, ...]
    hover_x: float
    hover_width: float


@dataclass(frozen=True, kw_only=True)
class ActivityChart:
    """Everything that `components/activity_chart.html` draws and says."""

    bars: tuple[Bar, ...]
    totals: dict[str, int]
    top: int
    width: int = WIDTH
    height: int = HEIGHT
    baseline: int = BASELINE

    @property
    def busiest(self) -> Bar | None:
        """The day with the most events, if anything happened at all."""
        bars = [bar for bar in self.bars if sum(bar.counts.values())]
        return max(bars, key=lambda bar: sum(bar.counts.values()), default=None)


def activity_chart(days: Sequence[Mapping[str, Any]]) -> ActivityChart:
    """Lay out stacked bars for `days` ({day, reads, writes, denials}, oldest first)."""
    counts = [{name: int(day.get(name, 0)) for name in SERIES} for day in days]
    top = _round_up(max((sum(each.values()) for each in counts), default=0))
    slot = WIDTH / max(len(days), 1)
    return ActivityChart(
        bars=tuple(
            _bar(day["day"], each, x=position * slot, slot=slot, top=top)
            for position, (day, each) in enumerate(zip(days, counts, strict=True))
        ),
        totals={name: sum(each[name] for each in counts) for name in SERIES},
        top=top,
    )


def _bar(day: date, counts: dict[str, int], *, x: float, slot: float, top: int) -> Bar:
    segments, floor = [], float(BASELINE)
    for name in SERIES:
        if not counts[name]:
            continue
        # A single event stays visible beside a day of thousands.
        height = max(counts[name] / top * (BASELINE - 8), 1.5)
        floor -= height
        segments.append(
            Segment(
                series=name,
                x=round(x + slot * _GAP / 2, 2),
                y=round(floor, 2),
                width=round(slot * (1 - _GAP), 2),
                height=round(height, 2),
            )
        )
    return Bar(
        day=day, counts=counts, segments=tuple(segments), hover_x=round(x, 2), hover_width=round(slot, 2)
    )


def _round_up(value: int) -> int:
    """Return the next 1, 2 or 5 times a power of ten, for a scale that is easy to read."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if value <= factor * step:
                return factor * step
        step *= 10
