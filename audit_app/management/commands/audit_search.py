"""The command that fills and rebuilds the search table of the audit log."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit_app.queries import search_index
from core.listing import add_format

_PROGRESS_EVERY = 50_000


class Command(BaseCommand):
    help = "Show how many events the search of the audit log lacks; fill or rebuild its table."

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("--fill", action="store_true", help="add what is missing, as a worker does")
        chosen.add_argument("--rebuild", action="store_true", help="write every row again from the events")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["rebuild"]:
            search_index.rebuild(progress=self._show)
        elif options["fill"]:
            search_index.fill(progress=self._show)
        behind = search_index.behind()
        if options["format"] == "json":
            self.stdout.write(json.dumps({"behind": behind}))
            return
        self.stdout.write(search_index.lag_text(behind) if behind else "The search is complete.")

    def _show(self, done: int) -> None:
        if done % _PROGRESS_EVERY < search_index.EVENTS_PER_STEP:
            self.stderr.write(f"{done:,} events")
