"""The command that takes old events out of the audit log, once they are sealed in a bundle outside."""

import getpass
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.checkpoints.schedule import anchor_log
from audit_app.errors import NothingToPrune
from audit_app.events import actors
from audit_app.retention.bundles import Bundle, bundles
from audit_app.retention.prune import plan, prune
from audit_app.retention.schedule import default_bundle
from core.errors import KeeperError
from core.listing import add_format, listing

_CHANGED: Final = "changed"


class Command(BaseCommand):
    help = (
        "Show which events older than a date retention would take out; with --apply, seal all events "
        "of that time in a bundle, prove it, and take those out. What shows how things came to be stays, and "
        "so does who has seen which version. Refuses unless checkpoints in every sink cover them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--before", type=_date, help="a date, such as 2026-01-01 (UTC)")
        what.add_argument(
            "--bundles",
            action="store_true",
            help="list the bundles that were written, and say of those that lie in KEEPER_AUDIT_ARCHIVE_DIR "
            "whether they are unchanged; exits with 1 if one is not",
        )
        add_format(parser)
        parser.add_argument("--apply", action="store_true", help="do it; without, nothing is changed")
        parser.add_argument(
            "--bundle", type=Path, help="the file to write (default: one in KEEPER_AUDIT_ARCHIVE_DIR)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["bundles"]:
            self._check_bundles(options["format"])
            return
        try:
            if not options["apply"]:
                self._show(options["before"], options["format"])
                return
            bundle = options["bundle"] or default_bundle()
            result = prune(
                actor=actors.system(),
                before=options["before"],
                bundle=bundle,
                operator=_operator(),
                progress=lambda stream, count: self.stderr.write(f"{stream}: {count:,} events"),
            )
            anchor_log(at_once=True)
        except NothingToPrune as error:
            if options["format"] == "json":
                self.stdout.write(json.dumps({"applied": False, "removed": 0, "reason": str(error)}))
            else:
                self.stdout.write(f"Nothing was changed: {error}.")
            return
        except KeeperError as error:
            raise CommandError(f"{error}. What is not recorded as cut is still there.") from error
        if options["format"] == "json":
            done = {"applied": True, "removed": result.removed}
            self.stdout.write(json.dumps(done | {"bundle": str(result.bundle), "sha256": result.sha256}))
            return
        self.stdout.write(
            f"{result.removed:,} events are taken out. All events of that time are in {result.bundle} "
            f"(SHA-256 {result.sha256}): keep it elsewhere."
        )

    def _check_bundles(self, form: str) -> None:
        found = [(_state_of(bundle), bundle) for bundle in bundles()]
        if form == "json":
            rows = [{"state": state, **asdict(bundle)} for state, bundle in found]
            self.stdout.write(listing(rows, form, nothing=""))
        else:
            for state, bundle in found:
                self.stdout.write(
                    f"{state}: {bundle.name}: {bundle.removed:,} events taken out, {bundle.kept:,} kept, "
                    f"sealed at {bundle.at[:16]} UTC under checkpoint {bundle.checkpoint} "
                    f"(SHA-256 {bundle.sha256})"
                )
        if any(state == _CHANGED for state, _ in found):
            sys.exit(1)

    def _show(self, before: datetime, form: str) -> None:
        chosen = plan(before=before)
        if form == "json":
            streams = [
                {
                    "stream": each.stream,
                    "after": each.after,
                    "through": each.through.sequence,
                    "removed": each.removed,
                    "kept": each.kept,
                }
                for each in chosen.streams
            ]
            planned = {"applied": False, "removed": chosen.removed, "streams": streams}
            self.stdout.write(json.dumps(planned | {"checkpoint": chosen.checkpoint.number}, indent=2))
            return
        signed_at = chosen.checkpoint.statement.at
        self.stdout.write(
            f"Covered by checkpoint {chosen.checkpoint.number} of {signed_at:%Y-%m-%d %H:%M} UTC"
        )
        for stream in chosen.streams:
            self.stdout.write(
                f"{stream.stream}: {stream.removed:,} of events {stream.after + 1:,} to "
                f"{stream.through.sequence:,} would go, {stream.kept:,} stay"
            )
        self.stdout.write(f"{chosen.removed:,} events would go. Nothing was changed: add --apply to do it.")


def _state_of(bundle: Bundle) -> str:
    try:
        return "unchanged" if bundle.is_unchanged() else _CHANGED
    except FileNotFoundError:
        return "elsewhere"


def _operator() -> str:
    try:
        return f"operator {getpass.getuser()}"
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"operator {os.getuid()}"


def _date(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
