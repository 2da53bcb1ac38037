"""Draws the ratios beside their targets: an SVG without scripts, fonts or colours of its own making."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.measuring.table import Comparison, Row

_SCALE: Final = 440
# What a letter of a label takes, with room to spare.
_LETTER: Final = 7
_LINE: Final = 26
_TOP: Final = 56
# From a hundredth to a hundred times, each tenfold as wide as the next.
_LEAST, _MOST = -2, 2
_CAPTION: Final = (
    "Keeper against each: times better (for memory, pushes and pages: times as much); "
    "the stroke is the target"
)
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.axis{stroke:#d0d7de}.one{stroke:#57606a}"
    ".met{fill:#1a7f37}.missed{fill:#bc4c00}.reach{stroke:#1f2328;stroke-width:2}.back{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#30363d}.one{stroke:#8b949e}"
    ".met{fill:#3fb950}.missed{fill:#db6d28}.reach{stroke:#e6edf3}.back{fill:#0d1117}}"
)


def svg(rows: Sequence[Row]) -> str:
    """Return the chart of those rows that have a target."""
    shown = [row for row in rows if isinstance(row, Comparison) and row.target]
    labels = _LETTER * max((len(_label(row)) for row in shown), default=0)
    width, height = labels + _SCALE, _TOP + _LINE * len(shown) + 12
    place_of = partial(_x, labels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Ratios of Keeper and their targets</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}"/>',
        f'<text x="12" y="20">{_CAPTION}</text>',
        *(_mark(place_of(10.0**power), power, height) for power in range(_LEAST, _MOST + 1)),
    ]
    for place, row in enumerate(shown):
        parts += _bar(row, place_of, _TOP + place * _LINE)
    return "\n".join([*parts, "</svg>", ""])


def write(path: Path, text: str) -> None:
    """Store the chart."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _label(row: Comparison) -> str:
    return f"{row.work} ({row.database}) against {row.other}"


def _mark(x: float, power: int, height: int) -> str:
    kind = "one" if power == 0 else "axis"
    return (
        f'<line class="{kind}" x1="{x}" x2="{x}" y1="44" y2="{height - 8}"/>'
        f'<text x="{x}" y="40" text-anchor="middle">{10**power:g}</text>'
    )


def _bar(row: Comparison, place_of: Callable[[float], float], y: int) -> list[str]:
    if row.target is None:
        return []
    left, right = sorted((place_of(1.0), place_of(row.ratio)))
    kind = "met" if row.target.is_met(row.ratio) else "missed"
    reach = place_of(row.target.reach)
    label = escape(_label(row))
    width = max(2, round(right - left, 1))
    told = f"<title>{label}: {row.ratio:.2f}, target {row.target}</title>"
    return [
        f'<text x="{place_of(0) - 12}" y="{y + 15}" text-anchor="end">{label}</text>',
        f'<rect class="{kind}" x="{left}" y="{y + 4}" width="{width}" height="14">{told}</rect>',
        f'<line class="reach" x1="{reach}" x2="{reach}" y1="{y + 1}" y2="{y + 21}"/>',
    ]


def _x(labels: int, ratio: float) -> float:
    power = min(max(math.log10(ratio), _LEAST), _MOST) if ratio else _LEAST
    return round(labels + (power - _LEAST) / (_MOST - _LEAST) * (_SCALE - 24), 1)
