"""Rows that a command prints: as a table for people, as JSON for programs."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from core.canonical_json import utc_text


def add_format(parser: ArgumentParser, *, default: str = "text") -> None:
    """Let a command take `--format`; an act of one that takes it as well has `SUPPRESS` as default."""
    parser.add_argument("--format", choices=["text", "json"], default=default, help="json: for programs")


def listing(rows: Sequence[Mapping[str, Any]], form: str, *, nothing: str) -> str:
    """Return rows as text in columns, or as JSON; `nothing` stands for no rows in a text."""
    if form == "json":
        return json.dumps(rows, default=_plain, indent=2)
    if not rows:
        return nothing
    names = [name.replace("_", " ").upper() for name in rows[0]]
    table = [names, *([_cell(each) for each in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in table]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    # A name holds no line break that would look like another row.
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _plain(value: Any) -> str:
    return utc_text(value) if isinstance(value, datetime) else str(value)
