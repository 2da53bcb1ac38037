"""Keeper's names in a target: below a prefix which no name leaves, or as environment variables.

Names of variables are upper case, without folders.
"""

import re
from typing import Final

from sync_app.errors import BadDestination, NameUnusable

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.+=@-]+")


def is_plain(path: str) -> bool:
    """Return whether a path is made of segments that mean nothing but themselves."""
    return all(
        _SEGMENT.fullmatch(segment) is not None and segment not in {".", ".."} for segment in path.split("/")
    )


class Prefix:
    """A path of whole segments, or nothing, in front of every name of one target."""

    def __init__(self, text: str, *, field: str = "prefix") -> None:
        """Take a prefix with or without slashes around it.

        Raises BadDestination if a segment could lead elsewhere.
        """
        self.text = text.strip("/")
        if self.text and not is_plain(self.text):
            raise BadDestination(
                "segments of letters, digits and _.+=@- joined by /, none of them . or ..", field=field
            )
        # What every path below the prefix starts with.
        self.start = f"{self.text}/" if self.text else ""

    def path(self, name: str) -> str:
        """Return the path of a name in the target.

        Raises NameUnusable if the name could leave the prefix.
        """
        if not is_plain(name):
            raise NameUnusable("the name would leave the target's prefix, or means something else there")
        return self.start + name

    def name(self, path: str) -> str | None:
        """Return the name that a path stands for, or None if it is not below the prefix."""
        return path.removeprefix(self.start) if path.startswith(self.start) else None


_SEPARATORS: Final = str.maketrans("/.-", "___")
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


class VariableNames:
    """How names become variables: `app/db-password` under the prefix `team` is `TEAM_APP_DB_PASSWORD`."""

    def __init__(self, prefix: str) -> None:
        """Take a prefix as `Prefix` does. Raises BadDestination."""
        self._prefix = Prefix(prefix)
        self.start = self.variable("") if self._prefix.text else ""

    @property
    def path(self) -> str:
        """The prefix as a path, by which overlaps are found: a variable shows no end of a folder."""
        return self.start.strip("_").replace("_", "/").lower()

    def variable(self, name: str) -> str:
        return f"{self._prefix.start}{name}".translate(_SEPARATORS).upper()

    def checked_variable(self, name: str) -> str:
        """Return the variable of a name. Raises NameUnusable if the name could leave the prefix."""
        self._prefix.path(name)
        return self.variable(name)

    def name(self, variable: str) -> str | None:
        """Return a name that becomes this variable, or None if it is not below the prefix or none does."""
        name = variable.removeprefix(self.start).lower()
        return name if name and self.variable(name) == variable else None


def explain_bad_variable(variable: str) -> str:
    """Return why this is no name of a variable; empty if it is one."""
    if _VARIABLE.fullmatch(variable):
        return ""
    return (
        f"a variable has letters, digits and _, and begins with no digit: not {variable}; rename the secret"
    )
