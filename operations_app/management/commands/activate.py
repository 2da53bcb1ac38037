"""Makes this installation the one that acts, after a restore or a move."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable, LeaseUnwritable
from audit_app.integrity.active_installation import current, is_active
from core.canonical_json import utc_text
from core.listing import add_format
from environments_app.authorization.principals import system_principal
from operations_app.backup.restore import activate_here
from operations_app.management.confirmation import answer_to

_QUESTION = "Is every other installation of this deployment stopped? Type yes: "


class Command(BaseCommand):
    help = (
        "Let this installation sync, rotate and notify, and no other of the same deployment: after a "
        "restore, or when the database or SECRET_KEY has changed. Asks before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask: for scripts")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        row = current()
        if row is not None and is_active():
            if options["format"] == "json":
                active = {"changed": False, "epoch": row.epoch, "since": utc_text(row.since)}
                self.stdout.write(json.dumps(active))
            else:
                self.stdout.write(f"This is the active installation since {row.since:%Y-%m-%d %H:%M} UTC.")
            return
        if not options["yes"] and answer_to(_QUESTION).lower() != "yes":
            raise CommandError("Nothing was changed.")
        try:
            epoch = activate_here(actor=system_principal(is_admin=True))
        except (LeaseUnwritable, KeyringUnavailable) as error:
            raise CommandError(f"{error}. Nothing was changed.") from error
        if options["format"] == "json":
            self.stdout.write(json.dumps({"changed": True, "epoch": epoch}))
            return
        self.stdout.write(f"This is the active installation now (epoch {epoch}).")
