"""Looks at the keys that wrap data keys, and tries them; `local` keys answer as well as AWS KMS."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from environments_app.models import Environment
from secrets_app.connection_test import Trial, trials
from secrets_app.errors import KeyUnavailable
from secrets_app.key_report import ScopeReport, reports

Answer = TypeVar("Answer", Trial, ScopeReport)


class Command(BaseCommand):
    """Prints one block, or one JSON object a line, for each key."""

    help = (
        "Test and show the keys that wrap data keys; exits with 1 if one cannot be used, 2 for wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        for name, told in (
            ("test-connection", "make, open and refuse a data key under each configured key"),
            ("key-info", "show each environment's key, its state and its data keys"),
        ):
            action = actions.add_parser(name, help=told, description=told)
            action.add_argument("--environment", help="this environment only")
            action.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Carry out one action."""
        environment = options["environment"]
        if environment and not Environment.objects.filter(name=environment).exists():
            raise CommandError("There is no environment of this name.", returncode=2)
        self._act(options["action"], environment, as_json=options["format"] == "json")

    def _act(self, action: str, environment: str | None, *, as_json: bool) -> None:
        try:
            if action == "test-connection":
                self._show(trials(environment), _trial_text, as_json=as_json)
            else:
                self._show(reports(environment), _report_text, as_json=as_json)
        except KeyUnavailable as error:
            raise CommandError(str(error)) from error

    def _show(self, answers: Iterable[Answer], text: Callable[[Answer], str], *, as_json: bool) -> None:
        failed = False
        for answer in answers:
            failed = failed or not answer.ok
            shown = json.dumps({**asdict(answer), "ok": answer.ok}) if as_json else text(answer)
            self.stdout.write(shown)
        if failed:
            sys.exit(1)


def _trial_text(trial: Trial) -> str:
    result = "ok" if trial.ok else f"FAILED to {trial.step}: {trial.problem}"
    missing = f"\n  missing permission: {trial.permission}" if trial.permission else ""
    return f"{', '.join(trial.used_by)}: {trial.key_uri or trial.provider}: {result}{missing}"


def _report_text(report: ScopeReport) -> str:
    lines = [f"{report.name}: {report.provider}: {report.key_uri or report.reference}"]
    if report.problem:
        lines.append(f"  PROBLEM: {report.problem}")
    else:
        lines.append(f"  named as {report.reference or 'the key file'}, state {report.state}")
        lines.append(f"  rotation: {_rotation(report)}")
    for key in report.data_keys:
        use = "active" if key.active else "retired"
        old = ", under an old key: " + key.key_uri if key.uuid in report.under_old_key else ""
        lines.append(
            f"  data key {key.uuid} ({key.purpose}): {use}, {key.age_days} days, {key.values:,} values{old}"
        )
    return "\n".join(lines)


def _rotation(report: ScopeReport) -> str:
    return report.note or ("on" if report.rotates else "off")
