"""Goes back from KMS to the key file, with the backup that the migration wrote."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.listing import add_format
from secrets_app.errors import KeyRefused, KeyUnavailable, MigrationRefused
from secrets_app.key_operations.migration.rollback import roll_back


class Command(BaseCommand):
    """Prints what went back; KMS is not needed."""

    help = (
        "Let the key file open every data key again; needs the backup that migrate_to_kms wrote. Exits with "
        "1 if that is refused, and nothing was changed then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup_file", type=Path, help="the file that migrate_to_kms named")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            done = roll_back(options["backup_file"])
        except (MigrationRefused, KeyUnavailable, KeyRefused, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps(asdict(done)))
        else:
            self.stdout.write(done.text())
