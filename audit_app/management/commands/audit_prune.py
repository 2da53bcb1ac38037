"""The command that takes old events out of the trail, once they are sealed in a bundle outside."""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app import actors
from audit_app.anchoring import anchor_trail
from audit_app.errors import AuditError, NothingToPrune
from audit_app.pruning import plan, prune
from audit_app.retention import default_bundle


class Command(BaseCommand):
    """`keeper audit-prune --before DATE`, which says what it would do, and with --apply does it."""

    help = (
        "Say which events older than a date retention would take out of the trail; with --apply, seal all "
        "of that time in a bundle, prove it, and take them out. What says how things came to be stays, and "
        "so does who has seen which version. Refuses unless checkpoints in every sink cover them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the date, the bundle and whether to do it."""
        parser.add_argument("--before", required=True, type=_date, help="a date, such as 2026-01-01 (UTC)")
        parser.add_argument("--apply", action="store_true", help="do it; without, nothing is changed")
        parser.add_argument(
            "--bundle", type=Path, help="the file to write (default: one in KEEPER_AUDIT_ARCHIVE_DIR)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Plan, or do it and sign what came of it."""
        try:
            if not options["apply"]:
                self._show(options["before"])
                return
            bundle = options["bundle"] or default_bundle()
            done = prune(
                actor=actors.system(),
                before=options["before"],
                bundle=bundle,
                operator=_operator(),
                progress=lambda stream, count: self.stderr.write(f"{stream}: {count:,} events"),
            )
            anchor_trail(at_once=True)
        except NothingToPrune as error:
            self.stdout.write(f"Nothing was changed: {error}.")
            return
        except AuditError as error:
            raise CommandError(f"{error}. What is not recorded as cut is still there.") from error
        self.stdout.write(
            f"{done.removed:,} events are taken out. All events of that time are in {done.bundle} (SHA-256 "
            f"{done.sha256}): keep it elsewhere."
        )

    def _show(self, before: datetime) -> None:
        chosen = plan(before=before)
        signed_at = chosen.checkpoint.statement.at
        self.stdout.write(
            f"Covered by checkpoint {chosen.checkpoint.number} of {signed_at:%Y-%m-%d %H:%M} UTC"
        )
        for each in chosen.streams:
            self.stdout.write(
                f"{each.stream}: {each.removed:,} of events {each.after + 1:,} to {each.through.sequence:,} "
                f"would go, {each.kept:,} stay"
            )
        self.stdout.write(f"{chosen.removed:,} events would go. Nothing was changed: add --apply to do it.")


def _operator() -> str:
    try:
        return f"operator {getpass.getuser()}"
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"operator {os.getuid()}"


def _date(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
