"""Sets a user's password from the host; replaces Django's command, which records no event."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from environments_app.authentication import second_factor
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import User
from environments_app.users import accounts
from environments_app.users.password_backend import named_user


class Command(BaseCommand):
    help = (
        "Give a local account a new password, printed once; its sessions end, and a suspension with them. "
        "For an administrator who lost theirs, where no other one is left. It is recorded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--remove-second-factor",
            action="store_true",
            help="Let the password alone suffice: for a lost authenticator without recovery codes.",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        actor, user = system_principal(is_admin=True), _local(options["username"])
        password = accounts.new_password()
        try:
            if options["remove_second_factor"] and user.second_factor is not None:
                user = second_factor.remove(actor=actor, user=user)
            accounts.set_password(actor=actor, user=user, password=password)
        except AccessError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Password of {user.username}, shown once: {password}")


def _local(username: str) -> User:
    user = named_user(username)
    if user is None:
        raise CommandError("There is no account of this name.")
    if user.saml_issuer is not None:
        raise CommandError("Single sign-on lets this person in: the identity provider keeps the password.")
    if not user.is_active:
        raise CommandError("This account is disabled: an administrator enables it first.")
    return user
