"""Makes this installation the one that acts, after a restore or a move."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable, LeaseUnwritable
from audit_app.integrity.active_installation import current, is_active
from environments_app.authorization.principals import system_principal
from operations_app.backup.restore import activate_here

_QUESTION = "Is every other installation of this deployment stopped? Type yes: "


class Command(BaseCommand):
    help = (
        "Let this installation sync, rotate and notify, and no other of the same deployment: after a "
        "restore, or when the database or SECRET_KEY has changed. Asks before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask: for scripts")

    def handle(self, *_args: Any, **options: Any) -> None:
        row = current()
        if row is not None and is_active():
            self.stdout.write(f"This is the active installation since {row.since:%Y-%m-%d %H:%M} UTC.")
            return
        if not options["yes"]:
            self._ask()
        try:
            epoch = activate_here(actor=system_principal(is_admin=True))
        except (LeaseUnwritable, KeyringUnavailable) as error:
            raise CommandError(f"{error}. Nothing was changed.") from error
        self.stdout.write(f"This is the active installation now (epoch {epoch}).")

    def _ask(self) -> None:
        try:
            answer = input(_QUESTION)
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            raise CommandError("Nothing was changed.")
