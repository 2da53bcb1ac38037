"""The command that verifies the audit log and the rows that it authenticates."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit_app.checkpoints.inspection import discontinuities, since_checkpoint, whole_log
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.verification.stream_walker import VerificationStats
from core.progress import add_progress, reported


class Command(BaseCommand):
    help = "Verify the audit log and what is stored; exits with 1 if anything is damaged."

    def add_arguments(self, parser: CommandParser) -> None:
        extent = parser.add_mutually_exclusive_group()
        extent.add_argument("--full", action="store_true", help="verify everything, which is usual")
        extent.add_argument(
            "--since-checkpoint", action="store_true", help="only what the newest anchor lacks"
        )
        extent.add_argument("--stream", help="verify this stream only, such as 'system'")
        parser.add_argument("--format", choices=["text", "json"], default="text")
        add_progress(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print each problem on a line, then the discontinuities that restores left, then the counts."""
        as_json = options["format"] == "json"
        tally, problems = VerificationStats(), []
        with reported(
            self.stderr, asked=options["progress"], text=lambda: f"{tally.events:,} events verified"
        ):
            for problem in _problems(options, tally):
                problems.append(asdict(problem))
                if not as_json:
                    self.stdout.write(f"{problem.kind}: {problem.object}: {problem.message}")
        passed = list(discontinuities())
        counts = {**asdict(tally), "problems": len(problems)}
        if as_json:
            document = {
                "problems": problems,
                "discontinuities": [asdict(discontinuity) for discontinuity in passed],
                "counts": counts,
            }
            self.stdout.write(json.dumps(document))
        else:
            summary = ", ".join(f"{count:,} {noun}" for noun, count in counts.items())
            self.stdout.write("\n".join([*map(str, passed), summary]))
        if problems:
            sys.exit(1)


def _problems(options: dict[str, Any], tally: VerificationStats) -> Iterator[Problem]:
    if options["since_checkpoint"]:
        return since_checkpoint(tally=tally)
    problems = whole_log(options["stream"], tally=tally)
    return problems if options["stream"] else chain(problems, run_checks())
