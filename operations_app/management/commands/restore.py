"""Proves a backup, restores it, or tries out whether it would restore."""

import json
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from audit_app.errors import KeyringUnavailable
from core.config import variables as config_env
from core.listing import add_format
from core.progress import add_progress, reported
from operations_app.backup.errors import BackupError
from operations_app.backup.restore import require_room, require_stopped, restore
from operations_app.backup.restore_check import Check, compare, restore_drill
from operations_app.backup.verification import Proof, verify_backup
from operations_app.management.confirmation import ask_for_name, database_name


class Command(BaseCommand):
    help = (
        "Restore a backup to the database of DATABASE_URL, after proving that it opens here, is whole and "
        "genuine, and that everything in it is sound. With --verify only that, and nothing is touched; with "
        "--drill it is restored into a throw-away database, and that is compared with it. Stop Keeper "
        "before a restore. What acts is suspended afterwards: see `keeper release`. Exits with 1 if "
        "something is wrong."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the backup")
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--verify", action="store_true", help="prove it, and touch nothing")
        instead.add_argument(
            "--drill", action="store_true", help="restore it into a throw-away database, and compare"
        )
        instead.add_argument(
            "--compare", action="store_true", help="compare what it was just restored to with it"
        )
        parser.add_argument(
            "--replace", action="store_true", help="DESTROY what the database holds now; asks before"
        )
        parser.add_argument(
            "--despite-damage", action="store_true", help="take over damage that the installation had"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask: for scripts")
        add_progress(parser)
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        self._step = "opening the backup"
        try:
            if options["verify"]:
                self._verify(options)
            elif options["drill"]:
                self._judge(restore_drill(options["file"]), options)
            elif options["compare"]:
                self._judge(compare(options["file"]), options)
            else:
                self._restore(options)
        except (BackupError, KeyringUnavailable) as error:
            raise CommandError(f"{error}. Nothing was changed.") from error

    def _verify(self, options: dict[str, Any]) -> None:
        with self._reported(options):
            proof = verify_backup(options["file"], self._progress)
        if options["format"] == "json":
            self.stdout.write(json.dumps(_document(proof), indent=2))
        else:
            self._show(proof)
        if proof.damaged:
            sys.exit(1)

    def _judge(self, checks: Iterable[Check], options: dict[str, Any]) -> None:
        """Print a line for each check and each doubt; exit with 1 if there is one."""
        start, found = time.monotonic(), list[Check]()
        as_json = options["format"] == "json"
        with self._reported(options):
            for check in checks:
                found.append(check)
                self._step = f"{check.name} checked"
                if not as_json:
                    self._show_check(check)
        doubts = sum(len(check.doubts) for check in found)
        if as_json:
            document = {"doubts": doubts, "checks": [asdict(check) for check in found]}
            self.stdout.write(json.dumps(document, indent=2))
        else:
            verdict = f"{doubts:,} doubts" if doubts else "No doubt is left"
            self.stdout.write(f"{verdict}, after {time.monotonic() - start:.1f} s.")
        if doubts:
            sys.exit(1)

    def _show_check(self, check: Check) -> None:
        self.stdout.write(f"{'doubt' if check.doubts else 'ok':6}{check.name:10} {check.said}".rstrip())
        for doubt in check.doubts:
            self.stdout.write(f"      {doubt}")

    def _restore(self, options: dict[str, Any]) -> None:
        require_room(replace=options["replace"])
        require_stopped()
        if options["replace"] and not options["yes"]:
            database = f"the {connection.vendor} database {database_name()}"
            self.stderr.write(f"This destroys what {database} holds, for good.")
            ask_for_name()
        with self._reported(options):
            result = restore(
                options["file"],
                replace=options["replace"],
                despite_damage=options["despite_damage"],
                progress=self._progress,
            )
        config_env.store_held()
        if options["format"] == "json":
            done = {"database": database_name(), "suspended": result.suspended}
            self.stdout.write(json.dumps(_document(result.proof) | done, indent=2))
            return
        self._show(result.proof)
        waiting = ", ".join(f"{count:,} of kind {kind}" for kind, count in result.suspended.items())
        self.stdout.write(
            f"It is restored to {database_name()}. Suspended until they are released: {waiting}.\n"
            "Next: `keeper activate` here, once no other installation of this deployment runs; then "
            "`keeper release`, or the page Backups."
        )

    def _reported(self, options: dict[str, Any]) -> AbstractContextManager[None]:
        return reported(self.stderr, asked=options["progress"], text=lambda: self._step)

    def _progress(self, what: str, count: int) -> None:
        self._step = f"{what}: {count:,}"

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


def _document(proof: Proof) -> dict[str, Any]:
    manifest = proof.manifest
    return {
        "backup": str(manifest.backup),
        "deployment": str(manifest.deployment),
        "made_at": manifest.made_at,
        "sha256": proof.digest,
        "rows": sum(manifest.counts.values()),
        "events": proof.tally.events,
        "streams": proof.tally.streams,
        "data_keys": proof.data_keys,
        "keys": [asdict(key) for key in manifest.keys],
        "sound": not proof.damaged,
        "damaged": proof.damaged,
        "problems": [asdict(problem) for problem in proof.problems],
    }
