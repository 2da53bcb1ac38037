"""The command that verifies the audit log and the rows that it authenticates."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from audit_app.checkpoints.inspection import discontinuities, whole_log
from audit_app.errors import StreamForked
from audit_app.integrity.check_registry import Problem
from audit_app.verification.stream_walker import VerificationStats
from core.listing import add_format
from core.progress import add_progress, reported
from environments_app.authorization.principals import system_principal
from environments_app.operator_jobs import Extent, problems_of, record_verification


class Command(BaseCommand):
    help = "Verify the audit log and what is stored; exits with 1 if anything is damaged."

    def add_arguments(self, parser: CommandParser) -> None:
        extent = parser.add_mutually_exclusive_group()
        extent.add_argument("--full", action="store_true", help="verify everything, which is usual")
        extent.add_argument(
            "--since-checkpoint", action="store_true", help="only what the newest anchor lacks"
        )
        extent.add_argument("--stream", help="verify this stream only, such as 'system'; not recorded")
        parser.add_argument(
            "--no-record", action="store_true", help="write nothing, as on a replica that is read-only"
        )
        add_format(parser)
        add_progress(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print each problem on a line, then the discontinuities that restores left, then the counts."""
        as_json = options["format"] == "json"
        extent = Extent.SINCE_CHECKPOINT if options["since_checkpoint"] else Extent.FULL
        tally, problems = VerificationStats(), []
        with reported(
            self.stderr, asked=options["progress"], text=lambda: f"{tally.events:,} events verified"
        ):
            for problem in _problems(options["stream"], extent, tally):
                problems.append(asdict(problem))
                if not as_json:
                    self.stdout.write(f"{problem.kind}: {problem.object}: {problem.message}")
        passed = list(discontinuities())
        counts = {**asdict(tally), "problems": len(problems)}
        is_asked = not options["no_record"] and options["stream"] is None
        is_recorded = is_asked and self._recorded(extent, tally, len(problems))
        if as_json:
            document = {
                "problems": problems,
                "discontinuities": [asdict(discontinuity) for discontinuity in passed],
                "counts": counts,
                "recorded": is_recorded,
            }
            self.stdout.write(json.dumps(document))
        else:
            summary = ", ".join(f"{count:,} {noun}" for noun, count in counts.items())
            self.stdout.write("\n".join([*map(str, passed), summary]))
        if problems:
            sys.exit(1)
        if is_asked and not is_recorded:
            sys.exit(os.EX_TEMPFAIL)

    def _recorded(self, extent: Extent, tally: VerificationStats, problems: int) -> bool:
        """Record the result; what was found is worth printing also where nothing can be written."""
        actor = system_principal(is_admin=True)
        try:
            record_verification(actor=actor, extent=extent, tally=tally, problems=problems)
        except (DatabaseError, StreamForked) as error:
            self.stderr.write(f"The result is not recorded, and `keeper status` does not show it: {error}")
            return False
        return True


def _problems(stream: str | None, extent: Extent, tally: VerificationStats) -> Iterator[Problem]:
    return whole_log(stream, tally=tally) if stream else problems_of(extent, tally)
