"""Lists what waits since a restore, and releases it, one by one."""

import json
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.listing import add_format, listing
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from operations_app.backup.restore import changed_since, release, waiting


class Command(BaseCommand):
    help = (
        "Say what is suspended since a restore: memberships, tokens, targets and all else that acts. With "
        "a kind and a uuid from that list, let that one act again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", nargs="?", default="", help="its kind, as listed")
        parser.add_argument("uuid", nargs="?", type=UUID, help="its uuid, as listed")
        add_format(parser)
        parser.add_argument(
            "--probe",
            action="store_true",
            help="ask the other systems what has changed since the backup; releases nothing",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = system_principal(is_admin=True)
        if options["probe"]:
            lines = list(changed_since(actor=actor))
            if options["format"] == "json":
                self.stdout.write(json.dumps(lines, indent=2))
                return
            self.stdout.write("\n".join(lines) or "Nothing is known to have changed since the backup.")
            return
        if options["kind"] and options["uuid"] is None:
            raise CommandError("Give the uuid as well: things are released one by one.", returncode=2)
        if options["kind"]:
            try:
                release(actor=actor, kind=options["kind"], uuid=options["uuid"])
            except AccessError as error:
                raise CommandError(str(error)) from error
            self.stdout.write("Released.")
            return
        if options["format"] == "json":
            self.stdout.write(listing([asdict(row) for row in waiting(actor=actor)], "json", nothing=""))
            return
        count = 0
        for row in waiting(actor=actor):
            count += 1
            place = row.environment or "the installation"
            self.stdout.write(f"{row.kind} {row.uuid}  {place}: {row.name} ({row.detail})")
        self.stdout.write(f"{count:,} wait for their release." if count else "Nothing waits for its release.")
