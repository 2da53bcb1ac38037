"""Writes a backup of everything to a file; lists and proves those that are kept."""

import json
import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.listing import add_format, listing
from core.progress import add_progress, reported
from environments_app.authorization.principals import system_principal
from operations_app.backup import service as backups
from operations_app.backup.create import back_up, default_path
from operations_app.backup.errors import BackupError


class Command(BaseCommand):
    help = (
        "Write everything that the database holds to a new file, encrypted and signed, while Keeper runs. "
        "Values stay sealed: the key file or KMS key is needed to restore, and is not in the backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--output", type=Path, help="the file to write (default: one in KEEPER_BACKUP_DIR)"
        )
        add_progress(parser)
        add_format(parser)
        acts = parser.add_subparsers(dest="act")
        add_format(
            acts.add_parser("list", help="list the backups in KEEPER_BACKUP_DIR, and when each was verified"),
            default=SUPPRESS,
        )
        verified = acts.add_parser("verify", help="verify a backup in a temporary database; changes nothing")
        verified.add_argument("file", help="a path, or a name in KEEPER_BACKUP_DIR")
        add_format(verified, default=SUPPRESS)
        add_progress(verified)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it, and print the file, its size and its SHA-256; or list or verify what is kept."""
        if options["act"] == "list":
            self._list(options["format"])
        elif options["act"] == "verify":
            self._verify(options["file"], options["format"], asked=options["progress"])
        else:
            self._write(options["output"] or default_path(), options["format"], asked=options["progress"])

    def _write(self, path: Path, form: str, *, asked: bool) -> None:
        self._step = "opening the keys"
        actor = system_principal(is_admin=True)
        try:
            with reported(self.stderr, asked=asked, text=lambda: self._step):
                written = back_up(actor=actor, path=path, progress=self._progress)
        except (BackupError, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        if form == "json":
            made = {"file": str(written.path), "bytes": written.size, "sha256": written.digest}
            self.stdout.write(json.dumps(made, indent=2))
            return
        self.stdout.write(f"{written.path}\n{written.size:,} bytes, SHA-256 {written.digest}")

    def _progress(self, table: str, rows: int) -> None:
        self._step = f"{table}: {rows:,}"

    def _list(self, form: str) -> None:
        rows = [
            {
                "name": each.name,
                "made_at": each.made_at,
                "rows": each.rows,
                "bytes": each.size,
                "verified_at": each.proved,
                "result": (each.sound and "sound") or each.reason or None,
            }
            for each in backups.list_backups(actor=system_principal(is_admin=True))
        ]
        self.stdout.write(listing(rows, form, nothing="There is no backup in KEEPER_BACKUP_DIR."))

    def _verify(self, file: str, form: str, *, asked: bool) -> None:
        """Prove a file; what came of one of KEEPER_BACKUP_DIR is recorded and listed."""
        actor = system_principal(is_admin=True)
        if Path(file).name != file:
            call_command(
                "restore",
                file,
                verify=True,
                format=form,
                progress=asked,
                stdout=self.stdout,
                stderr=self.stderr,
            )
            return
        try:
            with reported(self.stderr, asked=asked, text=lambda: f"verifying {file}"):
                sound = backups.verify(actor=actor, name=file)
        except BackupError as error:
            raise CommandError(str(error)) from error
        (said,) = (each for each in backups.list_backups(actor=actor) if each.name == file)
        if form == "json":
            self.stdout.write(json.dumps({"name": file, "sound": sound, "reason": said.reason}, indent=2))
        else:
            self.stdout.write("The backup is genuine, and what it holds is sound." if sound else said.reason)
        if not sound:
            sys.exit(1)
