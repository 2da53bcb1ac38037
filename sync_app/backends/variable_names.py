"""Names in systems whose secrets are environment variables: upper case, without folders."""

import re
from typing import Final

from sync_app.backends.paths import Prefix

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
