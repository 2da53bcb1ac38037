"""Writes a compliance report to a file or to standard output."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from audit_app.queries.reports import sections
from core.errors import BadQuery
from environments_app.authorization.principals import system_principal
from environments_app.environments.access_history import end_of_day
from operations_app.reports import service as reports
from operations_app.reports.formats import FORMATS


class Command(BaseCommand):
    help = (
        "Write a report: access, privileged acts, refusals, secrets and their age, rotation, keys, sync,"
        " the audit log, and where the controls of SOC 2, ISO 27001, PCI DSS and ASVS find evidence."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--section", default=reports.ALL, help="one section by its key (default: all)")
        parser.add_argument("--list", action="store_true", help="list the sections")
        parser.add_argument(
            "--format", choices=list(FORMATS), default="json", help="html: to print, or to save as PDF"
        )
        parser.add_argument("--since", type=date.fromisoformat, help="first day (default: 90 days ago)")
        parser.add_argument("--until", type=date.fromisoformat, help="the day after the last (default: now)")
        parser.add_argument(
            "--as-of",
            type=date.fromisoformat,
            metavar="DATE",
            help="with --section access, tokens or trusts: at the end of this day, in UTC, by the audit log",
        )
        parser.add_argument("--output", type=Path, help="the file to write (default: standard output)")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["list"]:
            for section in sections().values():
                self.stdout.write(f"{section.key}: {section.title}. {section.about}")
            return
        try:
            report = reports.make(
                actor=system_principal(is_admin=True),
                key=options["section"],
                since=_midnight(options["since"]),
                until=_midnight(options["until"]),
                as_of=options["as_of"] and end_of_day(options["as_of"]),
            )
        except (BadQuery, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        written = FORMATS[options["format"]].write(report)
        if options["output"] is None:
            out = getattr(self.stdout, "buffer", None) or sys.stdout.buffer
            out.writelines(written)
            return
        try:
            with options["output"].open("xb") as file:
                file.writelines(written)
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}") from error


def _midnight(day: date | None) -> datetime | None:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
