"""A report as CSV, JSON or a page to print; the first two are passed on line by line, in flat memory."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import orjson
from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from audit_app.models import deployment_uuid
from audit_app.queries.event_export import harmless
from audit_app.queries.reports import Cell
from core.canonical_json import utc_text
from operations_app.reports.service import Report, ReportRow, findings, plain

# A printed page is for reading: it counts the further rows, which the other formats contain.
PRINTED_ROWS: Final = 500
PRINT_STYLE: Final = "keeper/css/report.css"


@dataclass(frozen=True, kw_only=True)
class Format:
    """One form of a report, its media type, and what writes it."""

    name: str
    label: str
    media_type: str
    write: Callable[[Report], Iterator[bytes]]


def csv_lines(report: Report) -> Iterator[bytes]:
    """Yield CSV as RFC 4180 has it: of one section its table, of several each after its title."""
    several = len(report.sections) > 1
    for section in report.sections:
        yield _csv_line([*(["Section"] if several else []), *section.columns])
        for row in report.rows(section):
            yield _csv_line([*([section.title] if several else []), *map(plain, row)])


def _csv_line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(map(harmless, cells))
    return out.getvalue().encode()


def json_lines(report: Report) -> Iterator[bytes]:
    """Yield one JSON object: what the report is, its controls, then each section with its rows."""
    head = {
        "title": report.title,
        "made_at": utc_text(report.made_at),
        "since": utc_text(report.scope.since),
        "until": utc_text(report.scope.until),
        "for": report.scope.viewer.name,
        "controls": [_control(finding) for finding in findings(report)],
    }
    yield orjson.dumps(head)[:-1] + b',"sections":['
    for place, section in enumerate(report.sections):
        told = {
            "key": section.key,
            "title": section.title,
            "about": section.about,
            "columns": section.columns,
            "as_of": _json(report.as_of(section)),
        }
        yield (b"," if place else b"") + orjson.dumps(told)[:-1] + b',"rows":['
        for number, row in enumerate(report.rows(section)):
            yield (b",\n" if number else b"") + orjson.dumps([_json(cell) for cell in row])
        yield b"]}"
    yield b"]}\n"


def _control(finding: ReportRow) -> dict[str, object]:
    control = finding.control
    return {
        "framework": control.framework,
        "number": control.number,
        "about": control.about,
        "evidence": [section.key for section in finding.evidence] or "not assessed",
    }


def _json(cell: Cell) -> Cell:
    return utc_text(cell) if isinstance(cell, datetime) else cell


def printed_page(report: Report, *, style: str = "") -> str:
    """Return the report as a page to print; it links its style sheet unless it has `style`, an element."""
    parts = []
    for section in report.sections:
        rows = report.rows(section)
        first = [[plain(cell) for cell in row] for row in islice(rows, PRINTED_ROWS)]
        more = sum(1 for _ in rows)
        parts.append({"section": section, "state": report.state(section), "rows": first, "more": more})
    context = {
        "report": report,
        "parts": parts,
        "findings": findings(report) if len(parts) > 1 else (),
        "installation": " · ".join(filter(None, (settings.KEEPER_URL, str(deployment_uuid())))),
        "style": style,
        "style_sheet": PRINT_STYLE,
    }
    return render_to_string("keeper_project/report_print.html", context)


def html_file(report: Report) -> Iterator[bytes]:
    """Yield the page to print as a file of its own; of a long section the beginning."""
    style = Path(str(finders.find(PRINT_STYLE))).read_text(encoding="utf-8")
    # Keeper serves no such page: its policy of contents forbids styles in a document.
    yield printed_page(report, style=mark_safe(f"<style>{style}</style>")).encode()  # noqa: S308 - our own file


FORMATS: Final = {
    form.name: form
    for form in (
        Format(name="csv", label="CSV", media_type="text/csv", write=csv_lines),
        Format(name="json", label="JSON", media_type="application/json", write=json_lines),
        Format(name="html", label="Print", media_type="text/html", write=html_file),
    )
}


def file_response(report: Report, key: str, form: str) -> StreamingHttpResponse:
    """Return a report in one of FORMATS, passed on while it is read."""
    chosen = FORMATS[form]
    response = StreamingHttpResponse(chosen.write(report), content_type=chosen.media_type)
    name = f"keeper-{key}-{report.made_at:%Y%m%d}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
