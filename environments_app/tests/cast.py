"""One cast for every test: who they are says what they may do."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from django.contrib.auth.hashers import make_password
from django.db.models import BigIntegerField

from core.db.prepared import Argument, PreparedQuery
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import user_principal
from environments_app.models import Environment, Membership, Role, User, UserRole
from environments_app.users import accounts

PASSWORD = "correct-horse-battery-staple"
OWN_PASSWORD = "chosen-by-its-person-alone"
_USER: Final = PreparedQuery(lambda: User.objects.filter(pk=Argument(0, BigIntegerField())).order_by())


@dataclass
class Cast:
    """The people and places that tests speak of.

    In `development` alice is manager, erin editor, bob reader, vera viewer. In `production` only
    alice is manager. Neither is protected. charlie belongs nowhere; root is an administrator without a membership.
    """

    alice: User
    erin: User
    bob: User
    vera: User
    charlie: User
    root: User
    development: Environment
    production: Environment

    def principal(self, user: User) -> Principal:
        """Return what `user` may do at this moment."""
        stored = _USER.first(user.pk)
        assert stored
        return user_principal(stored, address="192.0.2.1", request_id="test")


def make_cast() -> Cast:
    """Store the cast; only alice and root have a password (PASSWORD)."""
    cast = Cast(
        alice=user_with_password("alice", email="alice@example.com"),
        erin=User.objects.create_user("erin"),
        bob=User.objects.create_user("bob"),
        vera=User.objects.create_user("vera"),
        charlie=User.objects.create_user("charlie"),
        root=user_with_password("root", role=UserRole.ADMIN),
        development=Environment.objects.create(name="development", display_name="Development"),
        production=Environment.objects.create(name="production", display_name="Production"),
    )
    for environment, user, role in (
        (cast.development, cast.alice, Role.MANAGER),
        (cast.development, cast.erin, Role.EDITOR),
        (cast.development, cast.bob, Role.READER),
        (cast.development, cast.vera, Role.VIEWER),
        (cast.production, cast.alice, Role.MANAGER),
    ):
        Membership.objects.create(environment=environment, user=user, role=role)
    return cast


def user_with_password(username: str, **fields: str) -> User:
    """Store somebody whose password is PASSWORD."""
    user = User(username=username, password=_hashed(), **fields)
    user.save()
    return user


def choose_password(user: User) -> None:
    """Let a person replace the temporary password that another person set."""
    accounts.set_password(actor=user_principal(user), user=user, password=OWN_PASSWORD)
    user.refresh_from_db()


@cache
def _hashed() -> str:
    """Hash the password once a process: it is made to be slow."""
    return make_password(PASSWORD)
