"""Proves a backup, or restores it."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from keeper_project.backup.errors import BackupError
from keeper_project.backup.proving import Proof, prove


class Command(BaseCommand):
    """`keeper restore FILE --verify`."""

    help = (
        "Prove that a backup opens here, is whole and genuine, and that everything in it is sound. "
        "Nothing is touched. Exits with 1 if something is wrong."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the file."""
        parser.add_argument("file", type=Path, help="the backup")
        parser.add_argument(
            "--verify", action="store_true", required=True, help="prove it, and touch nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prove it."""
        try:
            proof = prove(options["file"])
        except (BackupError, KeyringUnavailable) as error:
            raise CommandError(f"{error}. Nothing was changed.") from error
        self._show(proof)
        if proof.damaged:
            sys.exit(1)

    def _show(self, proof: Proof) -> None:
        manifest = proof.manifest
        self.stdout.write(
            f"backup {manifest.backup} of deployment {manifest.deployment}, made {manifest.made_at}\n"
            f"SHA-256 {proof.digest}\n"
            f"{sum(manifest.counts.values()):,} rows, {proof.tally.events:,} events in "
            f"{proof.tally.streams:,} streams, {proof.data_keys:,} data keys open"
        )
        for key in manifest.keys:
            self.stdout.write(f"needs {key.key_uri} ({key.provider}, {key.data_keys:,} data keys)")
        for problem in proof.problems:
            self.stdout.write(f"{problem.kind}: {problem.object}: {problem.message}")
        verdict = (
            f"{proof.damaged:,} problems, all of them older than the backup" if proof.damaged else "sound"
        )
        self.stdout.write(f"The backup is genuine, and what it holds is {verdict}.")
