"""Lists what Keeper alerts about."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from core.listing import add_format, listing
from environments_app.models import Alert


class Command(BaseCommand):
    help = "List open alerts, the oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="with those that are over")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        alerts = Alert.objects.select_related("environment").order_by("opened_at", "pk")
        rows = [
            {
                "kind": alert.kind,
                "environment": alert.environment.name if alert.environment else None,
                "subject": alert.subject,
                "opened_at": alert.opened_at,
                "closed_at": alert.closed_at,
                **({"lines": alert.lines, "link": alert.link} if options["format"] == "json" else {}),
            }
            for alert in (alerts if options["all"] else alerts.filter(open=True))
        ]
        self.stdout.write(listing(rows, options["format"], nothing="No open alerts."))
