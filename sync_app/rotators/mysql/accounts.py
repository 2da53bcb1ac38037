"""Account names and grants of MySQL and MariaDB as text: parsed, quoted, compared."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from sync_app.errors import BadDestination

_QUOTED: Final = r"'(?:[^']|'')+'|\"(?:[^\"]|\"\")+\"|`(?:[^`]|``)+`"
_ACCOUNT: Final = re.compile(
    rf"(?P<user>{_QUOTED}|[^'\"`@\s]+)(?:@(?P<host>{_QUOTED}|[^'\"`@\s]+))?", re.DOTALL
)
_ROLE: Final = re.compile(r"GRANT (?P<role>.+) TO .+", re.DOTALL)
_GRANT: Final = re.compile(r"GRANT (?P<privileges>.+?) ON (?P<object>.+) TO .+", re.DOTALL)
# A privilege may be followed by the columns that it is for.
_PRIVILEGE: Final = re.compile(r"[^,(]+(?:\([^)]*\))?")
ALL: Final = "ALL PRIVILEGES"


@dataclass(frozen=True)
class Account:
    """A user name and a host part; without a host part all accounts of the name are meant."""

    user: str
    host: str | None = None

    @classmethod
    def parse(cls, text: str, *, field: str) -> Self:
        """Return the account that a text names: `app`, `'app'@'10.0.%'`.

        Raises BadDestination if it is no account name.
        """
        found = _ACCOUNT.fullmatch(text.strip())
        if found is None or "\0" in text:
            raise BadDestination("enter an account as app, or 'app'@'10.0.%'", field=field)
        host = found["host"]
        return cls(_unquote(found["user"]), _unquote(host).lower() if host else None)


def quote_account(user: str, host: str) -> str:
    """Return an account for a statement.

    Quoted as identifiers: backslashes and double quotes then mean the same under every sql_mode.
    """
    return "@".join("`" + part.replace("`", "``") + "`" for part in (user, host))


def parse_grants(grants: Iterable[str]) -> set[tuple[str, str]]:
    """Return (privilege, object) of the lines that SHOW GRANTS answers; of a role the object is empty."""
    found: set[tuple[str, str]] = set()
    for line in grants:
        if grant := _GRANT.fullmatch(line):
            privileges = (text.strip() for text in _PRIVILEGE.findall(grant["privileges"]))
            found |= {(text, grant["object"]) for text in privileges if text not in {"", "USAGE"}}
        elif role := _ROLE.fullmatch(line):
            found.add((f"role {role['role']}", ""))
    return found


def describe_missing_privileges(wanted: set[tuple[str, str]], have: set[tuple[str, str]]) -> tuple[str, ...]:
    """Return in words what is in the first and not in the second, which may hold all on an object."""
    lacking = (right for right in wanted if right not in have and (ALL, right[1]) not in have)
    return tuple(sorted(f"{privilege} ON {place}" if place else privilege for privilege, place in lacking))


def _unquote(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote) if quote in "'\"`" else text
