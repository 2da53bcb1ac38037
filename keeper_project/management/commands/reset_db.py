"""Destroys everything in the database and initialises it again, after asking."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from audit_app.interfaces import forget_keyring
from audit_app.models import forget_deployment
from keeper_project.runtime.database_setup import drop_all_tables
from operations_app.management.confirmation import ask_for_name, database_name


class Command(BaseCommand):
    help = "DESTROY every secret, user and event in the database, then initialise it anew. Asks before."
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
