"""Destroys everything in the database and initialises it again, after asking."""

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from audit_app.interfaces.keyring import forget_keyring
from audit_app.models import forget_deployment
from keeper_project.runtime.database_setup import drop_all_tables


def database_name() -> str:
    """Return what the operator has to type: the file's name for SQLite, the database's else."""
    return Path(str(connection.settings_dict["NAME"])).name


def ask_for_name() -> None:
    """Let the operator type the name of the database. Raises CommandError unless it is typed."""
    try:
        answer = input("Type the name of the database to go on: ")
    except EOFError:
        answer = ""
    if answer.strip() != database_name():
        raise CommandError("The name doesn't match. Nothing was changed.")


class Command(BaseCommand):
    """`keeper reset-db`."""

    help = "DESTROYS every secret, user and event in the database, then initialises it anew. Asks before."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask: for scripts")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not options["yes"]:
            self.stdout.write(
                f"This destroys every secret, user and event in the database {database_name()}, for good."
            )
            ask_for_name()
        drop_all_tables()
        # What this process remembers belongs to the rows that are gone.
        forget_deployment()
        forget_keyring()
        self.stdout.write(f"Everything in {database_name()} is destroyed.")
        call_command("init_db", verbosity=options["verbosity"], stdout=self.stdout)
