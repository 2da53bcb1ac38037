"""Shows the settings that this installation runs with, and where each comes from."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from core.listing import add_format, listing
from operations_app.system.installation import shown_settings


class Command(BaseCommand):
    help = "Show the settings in use; no secret is shown."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "text", nargs="?", default="", help="only those with this text in name, group or help"
        )
        parser.add_argument("--changed", action="store_true", help="only those that are not the default")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = [
            {
                "name": setting.name,
                "value": setting.shown,
                "from": str(setting.source.value),
                "default": setting.default,
                **({"help": setting.help, "group": setting.group} if options["format"] == "json" else {}),
            }
            for setting in shown_settings()
            if setting.matches(options["text"]) and (setting.changed or not options["changed"])
        ]
        self.stdout.write(listing(rows, options["format"], nothing="No such setting."))
