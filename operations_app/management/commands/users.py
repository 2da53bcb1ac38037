"""Lists accounts; disables, enables and unlocks one."""

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from core.listing import add_format, listing
from environments_app.authentication.lockout import accounts_of, locked, unlock
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import FailedSignIns, User
from environments_app.users.accounts import disable_user, update_user
from environments_app.users.password_backend import named_user

_DONE: Final = {"disable": "disabled", "enable": "enabled", "unlock": "unlocked"}


class Command(BaseCommand):
    help = "List accounts, or disable, enable or unlock one."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        add_format(acts.add_parser("list", help="list accounts"))
        for name, told in (
            ("disable", "end the sessions of an account, which cannot sign in until it is enabled"),
            ("enable", "let a disabled account sign in again"),
            ("unlock", "forget the failed sign-ins of an account"),
        ):
            act = acts.add_parser(name, help=told)
            act.add_argument("username")
            add_format(act)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = system_principal(is_admin=True)
        if options["act"] == "list":
            rows = _rows(User.objects.order_by("username"))
            self.stdout.write(listing(rows, options["format"], nothing="No accounts."))
            return
        try:
            user = named_user(options["username"])
            if user is None:
                raise CommandError("There is no account of this name: see `keeper users list`.")
            if options["act"] == "disable":
                disable_user(actor=actor, user=user)
            elif options["act"] == "enable":
                update_user(actor=actor, user=user, is_active=True)
            else:
                unlock(actor=actor, user=user)
        except AccessError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            self.stdout.write(listing(_rows(User.objects.filter(pk=user.pk)), "json", nothing=""))
            return
        self.stdout.write(f"{user.username} is {_DONE[options['act']]}.")


def _rows(users: QuerySet[User]) -> list[dict[str, Any]]:
    waiting = {user.pk for user in accounts_of(locked(FailedSignIns.objects.all())).values()}
    return [_row(user, is_locked=user.pk in waiting) for user in users]


def _row(user: User, *, is_locked: bool) -> dict[str, Any]:
    return {
        "username": user.username,
        "name": user.display_name or None,
        "role": user.role,
        "active": user.is_active,
        "locked": is_locked,
        "two_factor": bool(user.second_factor),
        "sign_in": "single sign-on" if not user.has_usable_password() else "local",
        "last_sign_in": user.last_login,
    }
