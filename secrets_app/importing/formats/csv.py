"""Reads CSV files (RFC 4180) whose first row names the columns.

Spreadsheets run a cell that begins with = + - @ as a formula. Keeper's own CSV export puts an
apostrophe before such a cell and marks it in the column `escaped`; here it is removed again, only in such
cells.
"""

import csv
import io
import re
from typing import Final, cast

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.entries import Entry, unreadable
from secrets_app.importing.formats.json import moment
from secrets_app.services.exporting import ESCAPABLE
from secrets_app.types.registry import parse_secret_type
from secrets_app.values.metadata import Metadata

COLUMNS: Final = ("name", "value", "type", "description", "tags", "owner", "expires_at", "escaped")
_BETWEEN_TAGS: Final = re.compile(r"[,; ]+")


def parse_csv_file(text: str) -> list[Entry]:
    """Return the entries of a CSV file. Raises InvalidInput."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    # The error of the reader may hold a cell, so ours is raised outside its handler.
    try:
        rows = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error:
        rows = []
    if not rows:
        raise unreadable(f"The file is not CSV with a row of columns (row {reader.line_num}).")
    columns = [column.strip().lower() for column in rows[0][1]]
    if not {"name", "value"} <= set(columns) or not set(columns) <= set(COLUMNS):
        others = ", ".join(COLUMNS[2:])
        raise unreadable(f"The first row must name the columns name and value; others may be {others}.")
    if len(set(columns)) != len(columns):
        raise unreadable("The first row names a column twice.")
    return [_entry(line, columns, row) for line, row in rows[1:]]


def _entry(line: int, columns: list[str], row: list[str]) -> Entry:
    if len(row) != len(columns):
        return Entry(place=line, name="", fault=f"The row has {len(row)} cells instead of {len(columns)}.")
    cells = dict(zip(columns, row, strict=True))
    for column in set(ESCAPABLE).intersection(cells.get("escaped", "").split()):
        cells[column] = cells[column].removeprefix("'")
    name, value = cells["name"], cells["value"]
    try:
        metadata: dict[str, object] = {
            field: cells[field] for field in ("description", "owner") if cells.get(field)
        }
        if cells.get("tags"):
            metadata["tags"] = [tag for tag in _BETWEEN_TAGS.split(cells["tags"]) if tag]
        if cells.get("expires_at"):
            metadata["expires_at"] = moment(cells["expires_at"])
        return Entry(
            place=line,
            name=name,
            value=value,
            secret_type=parse_secret_type(cells["type"]) if cells.get("type") else None,
            metadata=cast("Metadata", metadata),
        )
    except InvalidInput as error:
        return Entry(place=line, name=name, fault=error.reason)
