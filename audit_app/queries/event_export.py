"""Writes the newest events of a search as CSV or JSON."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson
from django.db.models import QuerySet

from audit_app.models import AuditEvent
from core.canonical_json import parsed_details, utc_text

# A file is written in memory.
LIMIT: Final = 10_000
_COLUMNS: Final = (
    "at", "actor", "actor_kind", "action", "outcome", "object_kind", "object", "address", "request_id",
    "stream", "sequence",
)  # fmt: skip
# What spreadsheets take for the begin of a formula (OWASP, CSV injection); an apostrophe makes it text.
_FORMULA: Final = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
Events = QuerySet[AuditEvent]


def as_csv(events: Events) -> bytes:
    """Return the newest LIMIT events, one a line below the names of the columns."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow((*_COLUMNS, "details"))
    for row in _rows(events):
        details = orjson.dumps(row["details"]).decode()
        writer.writerow([harmless(str(row[name])) for name in _COLUMNS] + [harmless(details)])
    return out.getvalue().encode()


def as_json(events: Events) -> bytes:
    """Return the newest LIMIT events as a list of objects."""
    return orjson.dumps(list(_rows(events)), option=orjson.OPT_INDENT_2)


def _rows(events: Events) -> Iterator[dict[str, Any]]:
    for event in events[:LIMIT].iterator(chunk_size=1_000):
        yield {
            "at": utc_text(event.at),
            "actor": event.actor_name,
            "actor_kind": event.actor_kind,
            "action": event.action,
            "outcome": event.outcome,
            "object_kind": event.object_kind,
            "object": event.object_name,
            "address": event.address,
            "request_id": event.request_id,
            "stream": event.stream,
            "sequence": event.sequence,
            "details": parsed_details(event.details),
        }


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


FORMATS: Final[Mapping[str, Callable[[Events], bytes]]] = {"csv": as_csv, "json": as_json}
MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
