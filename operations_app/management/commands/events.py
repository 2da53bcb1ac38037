"""Searches the audit log: what was done, by whom, to what."""

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from audit_app.queries.access_log import record_view
from audit_app.queries.search import find
from core.canonical_json import parsed_details
from core.listing import add_format, listing
from environments_app.authorization.principals import system_principal

_TIMES: Final = "2026-11-30, 2026-11-30T14:00 in UTC, 90m, 24h or 7d"
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    """That the audit log was read is recorded, as on its page."""

    help = "Search the audit log, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--object", default="", dest="object_name", help="the name of the object")
        parser.add_argument("--actor", default="", dest="actor_name", help="the name of who did it")
        parser.add_argument("--environment", default="", help="this environment only")
        parser.add_argument("--outcome", choices=["allowed", "denied", "failed"])
        parser.add_argument(
            "--since",
            type=_moment,
            metavar="TIME",
            help=_TIMES,
        )
        parser.add_argument("--until", type=_moment, metavar="TIME", help="before this time")
        parser.add_argument("--limit", type=int, default=50)
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        names = ("object_name", "actor_name", "environment", "outcome", "since", "until")
        wanted = {name: options[name] for name in names if options[name]}
        actor = system_principal(is_admin=True)
        record_view(viewer=actor, face="command", filters=wanted)
        found = find(viewer=actor, **wanted)
        rows = [
            {
                "at": event.at,
                "actor": event.actor_name,
                "action": event.action,
                "object": event.object_name,
                "outcome": event.outcome,
                "address": event.address or None,
                **({"details": parsed_details(event.details)} if options["format"] == "json" else {}),
            }
            for event in found.events[: options["limit"]]
        ]
        self.stdout.write(listing(rows, options["format"], nothing="No events."))
        if found.behind:
            self.stderr.write(
                f"The search lacks {found.behind:,} newer events: run `keeper audit-search --fill`."
            )


def _moment(text: str) -> datetime:
    """Return a time that was typed, in UTC, or so long ago."""
    if ago := re.fullmatch(r"(\d{1,5})([mhd])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"give {_TIMES}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
