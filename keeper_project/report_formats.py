"""A report as CSV, JSON or PDF; the first two are passed on line by line, in flat memory."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

import orjson
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from audit_app.canonical import utc_text
from audit_app.reports import Cell, Row, Section
from keeper_project.reporting import Finding, Report, findings

# A PDF is for reading: what is longer is told to be, and whole in the other formats.
PDF_ROWS: Final = 500
_PDF_CELL: Final = 80
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


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
            yield _csv_line([*([section.title] if several else []), *map(_plain, row)])


def _csv_line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(map(_harmless, cells))
    return out.getvalue().encode()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula (OWASP, CSV injection): an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


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


def _control(finding: Finding) -> dict[str, object]:
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
    document = FPDF(orientation="landscape", format="A4")
    document.set_title(report.title)
    document.set_creator("Keeper")
    document.set_creation_date(report.made_at)
    document.set_auto_page_break(auto=True, margin=15)
    document.add_page()
    _heading(document, report.title, 18)
    span = f"{report.scope.since:%Y-%m-%d %H:%M} to {report.scope.until:%Y-%m-%d %H:%M} UTC"
    _text(document, f"{span}, made {report.made_at:%Y-%m-%d %H:%M} UTC for {report.scope.viewer.name}")
    for section in report.sections:
        _section(document, section, report.rows(section))
    if len(report.sections) > 1:
        _controls(document, findings(report))
    yield bytes(document.output())


def _section(document: FPDF, section: Section, rows: Iterator[Row]) -> None:
    _heading(document, section.title, 13)
    _text(document, section.about)
    shown = list(islice(rows, PDF_ROWS))
    if not shown:
        _text(document, "Nothing.")
        return
    _table(document, [section.columns, *([_plain(cell) for cell in row] for row in shown)])
    more = sum(1 for _ in rows)
    if more:
        _text(document, f"{more:,} further rows are in the CSV and the JSON of this report.")


def _controls(document: FPDF, found: list[Finding]) -> None:
    _heading(document, "Controls", 13)
    _text(document, "Where an auditor finds evidence. This report judges no control to be fulfilled.")
    rows = [(each.control.framework, each.control.number, each.control.about, each.words) for each in found]
    _table(document, [("Framework", "Number", "Control", "Evidence"), *rows])


def _heading(document: FPDF, text: str, size: int) -> None:
    document.ln(4)
    document.set_font("helvetica", style="B", size=size)
    document.multi_cell(0, 8, _latin(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _text(document: FPDF, text: str) -> None:
    document.set_font("helvetica", size=9)
    document.multi_cell(0, 5, _latin(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    document.ln(1)


def _table(document: FPDF, rows: list[tuple[str, ...] | list[str]]) -> None:
    document.set_font("helvetica", size=7)
    with document.table(headings_style=FontFace(emphasis="BOLD"), line_height=4, padding=0.7) as table:
        for row in rows:
            drawn = table.row()
            for cell in row:
                drawn.cell(_latin(cell[:_PDF_CELL]))


def _latin(text: str) -> str:
    """Return a text in the characters that a PDF's own fonts have."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return str(cell)


FORMATS: Final = {
    form.name: form
    for form in (
        Format(name="csv", media_type="text/csv", write=csv_lines),
        Format(name="json", media_type="application/json", write=json_lines),
        Format(name="pdf", media_type="application/pdf", write=pdf),
    )
}
