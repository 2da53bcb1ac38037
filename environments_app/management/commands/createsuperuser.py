"""Makes an administrator from the host, in the place of Django's command, which leaves no event."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import UserRole
from environments_app.users import accounts


class Command(BaseCommand):
    help = "Make an administrator with a local account, whose password is printed once. It is recorded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--email", default="")

    def handle(self, *_args: Any, **options: Any) -> None:
        password = accounts.new_password()
        try:
            user = accounts.create_user(
                actor=system_principal(is_admin=True),
                username=options["username"],
                email=options["email"],
                role=UserRole.ADMIN,
                password=password,
            )
        except AccessError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Administrator: {user.username}\nPassword, shown once: {password}")
