"""Results on standard output: as text for people, or as JSON with `--format json`."""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any


def print_result(options: Namespace, document: Mapping[str, Any], text: str) -> int:
    """Print a result by its document or its text, and return 0."""
    if options.format == "json":
        return print_document(document)
    sys.stdout.write(f"{text}\n")
    return 0


def print_rows(options: Namespace, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """Print rows as aligned columns or as a JSON list, and return 0."""
    if options.format == "json":
        return print_document(rows)
    table = [[str(row[name]) for name in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
    return 0


def print_document(content: Any) -> int:
    """Print JSON and return 0."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
    return 0


def duration(seconds: float) -> str:
    """Return a time in hours and minutes."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    parts = [f"{hours} h"] if hours else []
    return " ".join([*parts, f"{minutes} min"] if minutes or not parts else parts)
