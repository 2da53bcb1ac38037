"""Writes a backup of everything to a file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from environments_app.authorization.principals import system_principal
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

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it, printing each table, then the file, its size and its SHA-256."""
        path = options["output"] or default_path()
        try:
            written = back_up(actor=system_principal(is_admin=True), path=path, progress=self._progress)
        except (BackupError, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{written.path}\n{written.size:,} bytes, SHA-256 {written.digest}")

    def _progress(self, table: str, rows: int) -> None:
        self.stderr.write(f"{table}: {rows:,} rows")
