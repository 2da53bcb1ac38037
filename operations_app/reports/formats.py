"""A report as CSV, JSON or PDF; the first two are passed on line by line, in flat memory."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from django.http import StreamingHttpResponse

from audit_app.queries.event_export import harmless
from audit_app.queries.reports import Cell
from core.canonical_json import utc_text
from operations_app.reports.service import Report, ReportRow, findings, plain


@dataclass(frozen=True, kw_only=True)
class Format:
    """One form of a report, its media type, and what writes it."""

    name: str
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


def pdf(report: Report) -> Iterator[bytes]:
    """Yield the report as a PDF to read; of a long section the beginning."""
    # Importing what draws takes a third of a process's start and 20 MB, in processes that rarely draw.
    from operations_app.reports.pdf import drawn  # noqa: PLC0415

    yield drawn(report)


FORMATS: Final = {
    form.name: form
    for form in (
        Format(name="csv", media_type="text/csv", write=csv_lines),
        Format(name="json", media_type="application/json", write=json_lines),
        Format(name="pdf", media_type="application/pdf", write=pdf),
    )
}


def file_response(report: Report, key: str, form: str) -> StreamingHttpResponse:
    """Return a report in one of FORMATS, passed on while it is read."""
    chosen = FORMATS[form]
    response = StreamingHttpResponse(chosen.write(report), content_type=chosen.media_type)
    name = f"keeper-{key}-{report.made_at:%Y%m%d}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
