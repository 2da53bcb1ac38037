"""The command that counts the uses of values, and counts them again."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit_app.queries import usage_index
from core.listing import add_format

_PROGRESS_EVERY = 50_000


class Command(BaseCommand):
    help = "Show how many events the counts of use lack; add them, or count all events again."

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("--fill", action="store_true", help="count what is missing, as a worker does")
        chosen.add_argument("--rebuild", action="store_true", help="count every event again")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["rebuild"]:
            usage_index.rebuild(progress=self._show)
        elif options["fill"]:
            usage_index.fill(progress=self._show)
        behind = usage_index.behind()
        if options["format"] == "json":
            self.stdout.write(json.dumps({"behind": behind}))
            return
        self.stdout.write(usage_index.lag_text(behind) or "Every event is counted.")

    def _show(self, done: int) -> None:
        if done % _PROGRESS_EVERY < usage_index.EVENTS_PER_STEP:
            self.stderr.write(f"{done:,} events")
