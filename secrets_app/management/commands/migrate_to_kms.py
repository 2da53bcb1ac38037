"""Moves the data keys from the key file to KMS; a dry run by default."""

import json
import sys
from argparse import ArgumentTypeError, BooleanOptionalAction
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.listing import add_format
from environments_app.models import Environment
from secrets_app.errors import KeyRefused, KeyUnavailable, MigrationRefused
from secrets_app.key_operations.migration.finalize import Finalised, finalise
from secrets_app.key_operations.migration.service import migrate, plan
from secrets_app.key_operations.reencrypt import BATCH


class Command(BaseCommand):
    """Prints one line, or one JSON object, for the system keys and for each environment."""

    help = (
        "Move data keys from the key file to KMS while the service runs. Without --no-dry-run it only tells, "
        "and proves that every value and credential opens. Exits with 1 on a failure or a refusal, 2 on "
        "wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action=BooleanOptionalAction, default=True, help="only tell and prove (the default)"
        )
        parser.add_argument("--environment", default="", help="this environment only")
        parser.add_argument("--batch-size", type=_positive, default=BATCH, help="values opened at a time")
        parser.add_argument(
            "--reencrypt", action="store_true", help="new data keys, values sealed again under them"
        )
        parser.add_argument(
            "--finalize", action="store_true", help="drop the wraps of the key file: no rollback afterwards"
        )
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        environment = options["environment"]
        if environment and not Environment.objects.filter(name=environment).exists():
            raise CommandError("Environment not found.", returncode=2)
        if options["finalize"] and (environment or options["reencrypt"]):
            raise CommandError("--finalize ends the migration of everything: give it alone.", returncode=2)
        try:
            ok = self._finalise(options) if options["finalize"] else self._migrate(options)
        except (MigrationRefused, KeyUnavailable, KeyRefused, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        if not ok:
            sys.exit(1)

    def _migrate(self, options: dict[str, Any]) -> bool:
        chosen = {name: options[name] for name in ("environment", "batch_size")}
        if options["dry_run"]:
            done = plan(**chosen, progress=self._progress)
        else:
            done = migrate(**chosen, reencrypt=options["reencrypt"], progress=self._progress)
        answers = []
        for answer in done:
            answers.append({**asdict(answer), "ok": answer.ok})
            if options["format"] == "text":
                self.stdout.write(answer.text())
        if options["format"] == "json":
            self.stdout.write(json.dumps(answers))
        return all(answer["ok"] for answer in answers)

    def _finalise(self, options: dict[str, Any]) -> bool:
        done = finalise(dry_run=options["dry_run"])
        as_json = options["format"] == "json"
        self.stdout.write(json.dumps({**asdict(done), "ok": done.ok}) if as_json else _finalised_text(done))
        return done.ok

    def _progress(self, name: str, done: int, total: int, what: str) -> None:
        self.stderr.write(f"{name}: {done:,} of {total:,} {what}")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError("a whole number from 1")
    return int(text)


def _finalised_text(done: Finalised) -> str:
    ended = ("would be" if done.dry_run else "is") if done.ok else "is NOT"
    lines = [f"migration {done.migration} {ended} finalised: KMS opens {done.data_keys:,} data keys"]
    return "\n".join([*lines, *(f"  PROBLEM: {problem}" for problem in done.problems)])
