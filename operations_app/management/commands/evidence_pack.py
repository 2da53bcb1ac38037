"""Writes an evidence pack: the compliance report of a period, and the signed log that proves it."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import AuditError
from core.errors import BadQuery
from core.listing import add_format
from environments_app.authorization.principals import system_principal
from operations_app.reports.pack import write_pack


class Command(BaseCommand):
    help = (
        "Write the compliance report of a period with the audit log that proves it, for verification offline."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the file to make, such as evidence.zip")
        parser.add_argument("--since", type=date.fromisoformat, help="first day (default: 90 days ago)")
        parser.add_argument("--until", type=date.fromisoformat, help="the day after the last (default: now)")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        path = options["file"]
        try:
            write_pack(
                path,
                actor=system_principal(is_admin=True),
                since=_midnight(options["since"]),
                until=_midnight(options["until"]),
            )
        except (BadQuery, AuditError) as error:
            raise CommandError(f"No pack was written: {error}.") from error
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
        if options["format"] == "json":
            self.stdout.write(json.dumps({"file": str(path)}))
            return
        self.stdout.write(f"Written to {path}. Verify it by docs/verify_offline.py, as its README says.")


def _midnight(day: date | None) -> datetime | None:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
