"""Signing in with a local password."""

from typing import Final

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.hashers import make_password
from django.db.models import BigIntegerField
from django.http import HttpRequest

from audit_app.integrity.row_authentication import verified_rows
from core.db.prepared import Argument, PreparedQuery
from environments_app.errors import BadName
from environments_app.models import User
from environments_app.names import normalise_username

_ACTIVE_BY_ID: Final = PreparedQuery(
    lambda: User.objects.filter(pk=Argument(0, BigIntegerField()), is_active=True).order_by()
)


class LocalBackend(BaseBackend):
    """Checks a username and password; a row that Keeper did not write is refused."""

    def authenticate(  # type: ignore[override]  # Django passes the credentials by name
        self,
        request: HttpRequest | None,  # noqa: ARG002 - the signature of Django
        username: str | None = None,
        password: str | None = None,
    ) -> User | None:
        """Return the active user of this name and password, or None.

        The hasher always runs, so the time taken does not reveal whether the user exists.
        """
        if not username or password is None:
            return None
        user = named_user(username)
        # Before the password is checked: Django may store a better hash then, which would make a forged row
        # genuine.
        if user is None or not verified_rows([user]):
            make_password(password)
            return None
        return user if user.check_password(password) and user.is_active else None

    def get_user(self, user_id: int) -> User | None:
        """Return the user of a session, as long as the account is active and genuine."""
        user = _ACTIVE_BY_ID.first(user_id)
        return user if user and verified_rows([user]) else None


def named_user(username: str) -> User | None:
    """Return the user of this name in any spelling, or None."""
    try:
        name = normalise_username(username)
    except BadName:
        return None
    return User.objects.filter(username=name).first()
