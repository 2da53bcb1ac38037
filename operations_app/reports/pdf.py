"""Draws a report as a PDF; a module of its own, since what draws is slow to import."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from audit_app.queries.reports import Row, Section
from operations_app.reports.service import Report, findings, plain

# A PDF is for reading: it notes omitted rows, which the other formats contain.
PDF_ROWS: Final = 500
_PDF_CELL: Final = 80


def drawn(report: Report) -> bytes:
    """Return the report as a PDF to read; of a long section the beginning."""
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
        _heading(document, "Controls", 13)
        _text(document, "Where an auditor finds evidence. This report judges no control to be fulfilled.")
        rows = [
            (each.control.framework, each.control.number, each.control.about, each.words)
            for each in findings(report)
        ]
        _table(document, [("Framework", "Number", "Control", "Evidence"), *rows])
    return bytes(document.output())


def _section(document: FPDF, section: Section, rows: Iterator[Row]) -> None:
    _heading(document, section.title, 13)
    _text(document, section.about)
    shown = list(islice(rows, PDF_ROWS))
    if not shown:
        _text(document, "Nothing.")
        return
    _table(document, [section.columns, *([plain(cell) for cell in row] for row in shown)])
    more = sum(1 for _ in rows)
    if more:
        _text(document, f"{more:,} further rows are in the CSV and the JSON of this report.")


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
            line = table.row()
            for cell in row:
                line.cell(_latin(cell[:_PDF_CELL]))


def _latin(text: str) -> str:
    """Return a text in the characters that a PDF's own fonts have."""
    return text.encode("latin-1", "replace").decode("latin-1")
