"""The command that signs the audit log now, prints the public keys, and resumes it after a restore."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.checkpoints.schedule import anchor_log
from audit_app.checkpoints.signing import accept_rollback
from audit_app.events import actors
from audit_app.integrity.active_installation import is_active
from audit_app.interfaces import keyring
from core.errors import KeeperError
from core.listing import add_format


class Command(BaseCommand):
    help = "Sign the heads of the audit log now, and deliver to the sinks what they lack."

    def add_arguments(self, parser: CommandParser) -> None:
        add_format(parser)
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument(
            "--public-keys", action="store_true", help="print the keys that sign, to be pinned elsewhere"
        )
        instead.add_argument(
            "--resume",
            metavar="REASON",
            help="after a restore: go on without the newest anchor, which every verification then names",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; fails if the audit log is refused or no sink answers."""
        as_json = options["format"] == "json"
        try:
            if options["public_keys"]:
                self._show_keys(as_json=as_json)
                return
            if options["resume"]:
                number = accept_rollback(actor=actors.system(), reason=options["resume"])
                told = self.stderr if as_json else self.stdout
                told.write(f"The log continues without checkpoint {number}; this is recorded.")
            if not is_active():
                raise CommandError(
                    "this is not the active installation, so it signs nothing: see `keeper activate`"
                )
            checkpoint = anchor_log(at_once=True)
        except KeeperError as error:
            raise CommandError(str(error)) from error
        if as_json:
            self.stdout.write(json.dumps({"checkpoint": checkpoint.number if checkpoint else None}))
            return
        self.stdout.write(
            f"Signed as {checkpoint}." if checkpoint else "Nothing happened since the last checkpoint."
        )

    def _show_keys(self, *, as_json: bool) -> None:
        keys = keyring().public_keys().items()
        if as_json:
            rows = [
                {"key": str(key), "algorithm": "ed25519", "public_key": public.hex()} for key, public in keys
            ]
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for key_id, public_key in keys:
            self.stdout.write(f"{key_id} ed25519 {public_key.hex()}")
