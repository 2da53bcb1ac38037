"""The geometry of charts, which the server draws as SVG (ADR 13).

Templates turn it into elements and escape what they print; colours are classes, so a chart follows the
theme, without inline styles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

WIDTH, HEIGHT, BASELINE = 720, 132, 112
SERIES = ("reads", "writes", "denials")
_GAP = 0.28
_PARTS_BETWEEN_NAMED_DAYS = 4
_THINNEST_PERCENT = 1.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one piece or row of a chart counts; `tone` is that of a state (`core/ui/labels.py`)."""

    label: str
    count: int
    url: str = ""
    tone: str = "info"
    icon: str = ""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part with its place in a strip or row of the width 100."""

    part: Part
    x: float
    width: float
    percent: int


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
    """One day: its segments from the baseline upwards, and the same in words."""

    day: date
    counts: dict[str, int]
    segments: tuple[Segment, ...]
    hover_x: float
    hover_width: float


@dataclass(frozen=True, kw_only=True)
class ActivityChart:
    """The context of `components/activity_chart.html`."""

    bars: tuple[Bar, ...]
    totals: dict[str, int]
    top: int
    width: int = WIDTH
    height: int = HEIGHT
    baseline: int = BASELINE

    @property
    def half(self) -> int | None:
        """The number at the middle line, where it is a whole one."""
        return None if self.top % 2 else self.top // 2

    @property
    def ticks(self) -> tuple[date, ...]:
        """The days that are named below the bars, at equal distances from the first to the last."""
        last = len(self.bars) - 1
        places = {
            round(last * part / _PARTS_BETWEEN_NAMED_DAYS) for part in range(_PARTS_BETWEEN_NAMED_DAYS + 1)
        }
        return tuple(self.bars[place].day for place in sorted(places) if place >= 0)

    @property
    def busiest(self) -> Bar | None:
        """The day with the most events, if anything happened at all."""
        bars = [bar for bar in self.bars if sum(bar.counts.values())]
        return max(bars, key=lambda bar: sum(bar.counts.values()), default=None)


def activity_chart(days: Sequence[Mapping[str, Any]]) -> ActivityChart:
    """Lay out stacked bars for `days` ({day, reads, writes, denials}, oldest first)."""
    counts = [{name: int(day.get(name, 0)) for name in SERIES} for day in days]
    top = _round_up(max((sum(day_counts.values()) for day_counts in counts), default=0))
    slot = WIDTH / max(len(days), 1)
    return ActivityChart(
        bars=tuple(
            _bar(day["day"], day_counts, x=position * slot, slot=slot, top=top)
            for position, (day, day_counts) in enumerate(zip(days, counts, strict=True))
        ),
        totals={name: sum(day_counts[name] for day_counts in counts) for name in SERIES},
        top=top,
    )


def strip(parts: Sequence[Part]) -> list[Piece]:
    """Lay out one bar whose pieces are in proportion, without those that count nothing.

    A piece that would be too thin to see is given what the others can spare.
    """
    parts = [part for part in parts if part.count]
    total = sum(part.count for part in parts)
    widths = [max(100 * part.count / total, _THINNEST_PERCENT) for part in parts]
    pieces, x = [], 0.0
    for part, share in zip(parts, widths, strict=True):
        width = 100 * share / sum(widths)
        pieces.append(
            Piece(part=part, x=round(x, 2), width=round(width, 2), percent=round(100 * part.count / total))
        )
        x += width
    return pieces


def rows(parts: Sequence[Part]) -> list[Piece]:
    """Lay out bars below each other, the longest of the width 100; all are kept, also those of nothing."""
    top = max((part.count for part in parts), default=0) or 1
    total = sum(part.count for part in parts) or 1
    return [
        Piece(
            part=part,
            x=0,
            width=round(max(100 * part.count / top, _THINNEST_PERCENT if part.count else 0), 2),
            percent=round(100 * part.count / total),
        )
        for part in parts
    ]


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
    """Return the next number of one digit and noughts, for a scale that is easy to read."""
    step = 1
    while True:
        for factor in (1, 2, 3, 4, 5, 6, 8):
            if value <= factor * step:
                return factor * step
        step *= 10
