"""Takes over values of the older Fernet scheme into an environment, to be migrated afterwards."""

import json
import sys
from argparse import FileType
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.listing import add_format
from environments_app.models import Environment
from secrets_app.errors import MigrationRefused
from secrets_app.key_operations.fernet_import import import_tokens
from secrets_app.types.registry import SecretType


class Command(BaseCommand):
    """Prints a line, or a JSON object, for each value; the values themselves are not shown."""

    help = (
        "Import Fernet tokens, a JSON object of name to token, as they are; LEGACY_FERNET_KEYS opens them "
        "until migrate_to_kms seals them anew. Exits with 1 if one is not imported, 2 on wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=FileType("rb"), help="the JSON file, or - for standard input")
        parser.add_argument("--environment", required=True, help="where the secrets go")
        parser.add_argument(
            "--type", default=SecretType.TEXT, choices=SecretType.values, help="of all of them"
        )
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(name=options["environment"]).first()
        if environment is None:
            raise CommandError("Environment not found.", returncode=2)
        with options["file"] as file:
            content = file.read()
        try:
            tokens = json.loads(content)
        except ValueError as error:
            raise CommandError("The file is no JSON.", returncode=2) from error
        if not isinstance(tokens, dict) or not all(isinstance(token, str) for token in tokens.values()):
            raise CommandError("The file is no JSON object of name to token.", returncode=2)
        answers = []
        try:
            for answer in import_tokens(
                environment=environment, tokens=tokens, secret_type=SecretType(options["type"])
            ):
                answers.append(asdict(answer) | {"ok": answer.ok})
                if options["format"] == "text":
                    self.stdout.write(f"{answer.name}: {answer.problem or 'imported'}")
        except (MigrationRefused, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps(answers))
        if not all(answer["ok"] for answer in answers):
            sys.exit(1)
