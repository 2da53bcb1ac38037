"""Looks at the keys that wrap data keys, tries and rotates them; a key file answers as well as AWS KMS."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.listing import add_format
from environments_app.models import Environment
from secrets_app.errors import KeyRefused, KeyUnavailable
from secrets_app.key_operations.report import ScopeReport, reports
from secrets_app.key_operations.rotation import Rotation, rotations
from secrets_app.key_operations.trial import Trial, trials

Answer = TypeVar("Answer", Trial, ScopeReport, Rotation)


class Command(BaseCommand):
    """Prints one block for each key, or one JSON array of all of them."""

    help = "Test, show and rotate the keys that wrap data keys; exits with 1 on a failure, 2 on wrong usage."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, told in (
            ("test-connection", "make, open and refuse a data key under each configured key"),
            ("key-info", "show each environment's key, its state and its data keys"),
        ):
            action = actions.add_parser(name, help=told, description=told)
            action.add_argument("--environment", help="this environment only")
            add_format(action)
        told = "wrap data keys under the configured key; with --reencrypt re-seal the values too"
        action = actions.add_parser("rotate", help=told, description=told)
        selection = action.add_mutually_exclusive_group()
        selection.add_argument("--environment", help="this environment only")
        selection.add_argument("--key-id", default="", help="what this key wraps only (ARN, id or alias)")
        action.add_argument("--reencrypt", action="store_true", help="new data keys, values sealed again")
        add_format(action)

    def handle(self, *_args: Any, **options: Any) -> None:
        environment = options["environment"]
        if environment and not Environment.objects.filter(name=environment).exists():
            raise CommandError("Environment not found.", returncode=2)
        try:
            as_json = options["format"] == "json"
            if options["action"] == "test-connection":
                self._show(trials(environment), Trial.text, as_json=as_json)
            elif options["action"] == "key-info":
                self._show(reports(environment), _report_text, as_json=as_json)
            else:
                done = rotations(
                    environment=environment or "",
                    key=options["key_id"],
                    reencrypt=options["reencrypt"],
                    progress=self._progress,
                )
                self._show(done, Rotation.text, as_json=as_json)
        except (KeyUnavailable, KeyRefused, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error

    def _progress(self, name: str, done: int, total: int, what: str) -> None:
        self.stderr.write(f"{name}: {done:,} of {total:,} {what}")

    def _show(self, answers: Iterable[Answer], text: Callable[[Answer], str], *, as_json: bool) -> None:
        shown = []
        for answer in answers:
            shown.append({**asdict(answer), "ok": answer.ok})
            if not as_json:
                self.stdout.write(text(answer))
        if as_json:
            self.stdout.write(json.dumps(shown))
        if not all(each["ok"] for each in shown):
            sys.exit(1)


def _report_text(report: ScopeReport) -> str:
    lines = [f"{report.name}: {report.provider}: {report.key_uri or report.reference}"]
    if report.problem:
        lines.append(f"  PROBLEM: {report.problem}")
    else:
        lines.append(f"  named as {report.reference or 'the key file'}, state {report.state}")
        lines.append(f"  rotation: {report.note or ('on' if report.rotates else 'off')}")
    for key in report.data_keys:
        use = "active" if key.active else "retired"
        old = ", under an old key: " + key.key_uri if key.uuid in report.under_old_key else ""
        lines.append(
            f"  data key {key.uuid} ({key.purpose}): {use}, {key.age_days} days, {key.values:,} values"
            + (f" and {key.credentials:,} credentials" if key.credentials else "")
            + old
            + (f", for a rollback by {key.other_provider} as well" if key.other_provider else "")
        )
    if report.legacy_values:
        lines.append(f"  {report.legacy_values:,} values of the older scheme")
    return "\n".join(lines)
