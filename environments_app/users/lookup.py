"""Whom a grant names: a person or a group, found by name. Both API and pages ask here."""

from django.contrib.auth.models import Group

from environments_app.errors import InvalidField
from environments_app.models import User
from environments_app.users.password_backend import named_user


def user_by_name(username: str | None, *, field: str = "user") -> User | None:
    """Return the user of this name in any spelling; None for an empty name. Raises InvalidField."""
    if not username:
        return None
    user = named_user(username)
    if user is None:
        raise InvalidField(field, "User not found.")
    return user


def find_group(name: str | None, *, field: str = "group") -> Group | None:
    """Return the group of exactly this name; no name is none. Raises InvalidField."""
    if not name:
        return None
    # Compared here as well: the column's collation may equate case.
    for group in Group.objects.filter(name=name):
        if group.name == name:
            return group
    raise InvalidField(field, "Group not found.")
