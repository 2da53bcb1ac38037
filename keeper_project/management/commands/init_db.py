"""Migrates the database and makes the first environments and the first administrator."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from environments_app.errors import InvalidField
from keeper_project.runtime.database_setup import SetupFailed, initialise, migrate, setup_lock
from sync_app.targets import default_targets


class Command(BaseCommand):
    help = (
        "Migrate the database, and make the environments development, staging and production and the "
        "first administrator (KEEPER_ADMIN_USERNAME, KEEPER_ADMIN_PASSWORD) of a new installation."
    )
    requires_migrations_checks = False

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            applied = migrate(say=self.say, verbosity=max(0, options["verbosity"] - 1))
            with setup_lock(self.say):
                administrator = initialise(announce=self.announce)
        except InvalidField as error:
            raise CommandError(f"KEEPER_ADMIN_{error.field.upper()}: {error.reason}") from error
        except SetupFailed as error:
            raise CommandError(str(error)) from error
        if administrator:
            default_targets.create_missing()
        if administrator:
            self.stdout.write("Keeper is initialised.")
        else:
            what = f"{applied:,} migrations were applied" if applied else "nothing changed"
            self.stdout.write(f"Keeper was initialised before; {what}.")

    def say(self, sentence: str) -> None:
        """Print what it waits for or starts over, at once."""
        self.stdout.write(sentence)
        self.stdout.flush()

    def announce(self, username: str, password: str) -> None:
        """Print the first administrator's password: it is shown only here."""
        self.stdout.write(f"First administrator: {username}\nPassword, shown once: {password}")
        self.stdout.flush()
