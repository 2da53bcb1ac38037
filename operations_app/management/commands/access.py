"""Shows who has access to an environment, now or at the end of a day."""

import re
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.errors import BadQuery
from core.listing import add_format, listing
from environments_app.authorization.principals import system_principal
from environments_app.environments.access_history import end_of_day
from environments_app.environments.service import find_environment
from environments_app.errors import AccessError
from operations_app.reports import service as reports


class Command(BaseCommand):
    """The section *access* of the reports, of one environment; that it was made is recorded."""

    help = "Show who has access to an environment, and by what."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--environment", required=True)
        parser.add_argument(
            "--as-of",
            type=date.fromisoformat,
            metavar="DATE",
            help="at the end of this day, in UTC, by the audit log",
        )
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor, day = system_principal(is_admin=True), options["as_of"]
        try:
            report = reports.make(actor=actor, key="access", as_of=day and end_of_day(day))
            (section,) = report.sections
            names = [re.sub(r"\W", "_", column.lower()) for column in section.columns]
            rows = [
                dict(zip(names, map(reports.plain, row), strict=True)) for row in section.rows(report.scope)
            ]
            rows = [row for row in rows if row.pop("environment") == options["environment"]]
            if not rows:
                # An environment that is gone had people in it.
                find_environment(actor=actor, name=options["environment"])
        except (AccessError, BadQuery, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(listing(rows, options["format"], nothing="Nobody."))
