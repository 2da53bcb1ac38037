"""Finding names: those under a prefix, the row of one, and what is said of a name that is not there."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from kpr.api import Api, path_of
from kpr.errors import NotFoundError
from kpr.settings import Settings

# Of so many names one is looked for that is nearly the wanted one.
_COMPARED = 1000
_NAMED = 3


def listed(api: Api, environment: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield the rows of the secrets under a prefix, without values."""
    query = {"environment": environment, "ordering": "name", **({"prefix": prefix} if prefix else {})}
    return api.every("secrets", query)


def tell_outside(names: Iterable[str], settings: Settings) -> None:
    """Say on standard error which stored names the prefix of the project leaves out of its reads."""
    prefixes = settings.prefixes
    outside = [each for each in names if not any(f"{each}/".startswith(f"{below}/") for below in prefixes)]
    if prefixes and outside:
        named = ", ".join(outside[:_NAMED]) + (" and more" if outside[_NAMED:] else "")
        sys.stderr.write(
            f"kpr: outside {' and '.join(prefixes)}, the prefix of list, run and export here: {named}. "
            f"Names are full paths: set {prefixes[0]}/NAME, or import with --below {prefixes[0]}.\n"
        )


def require_environment(api: Api, environment: str) -> None:
    """Raise NotFoundError if there is no such environment, or none that the token sees."""
    try:
        api.get(path_of("environments", environment))
    except NotFoundError:
        raise NotFoundError(f"There is no environment {environment}, or you have no access to it.") from None


def row_of(api: Api, environment: str, name: str) -> dict[str, Any]:
    """Return the row of a secret, whose value is not read. Raises NotFoundError as `absent` makes it."""
    for row in listed(api, environment, name):
        if row["name"] == name:
            return row
        # It comes first of those below it.
        break
    raise absent(api, environment, name)


def absent(api: Api, environment: str, name: str) -> NotFoundError:
    """Return the error for a name that is not there, with the names that may be meant. Raises KprError."""
    from difflib import get_close_matches  # noqa: PLC0415 - for an error alone: each start would pay for it

    require_environment(api, environment)
    names = [row["name"] for row, _ in zip(listed(api, environment), range(_COMPARED), strict=False)]
    short = name.strip("/").lower()
    found = [each for each in names if f"/{each}".lower().endswith(f"/{short}")]
    told = "Names are full paths: did" if found else "Did"
    meant = found[:3] or get_close_matches(name, names, n=3, cutoff=0.75)
    suggestion = f" {told} you mean {' or '.join(meant)}?" if meant else ""
    return NotFoundError(f"There is no secret {name} in {environment}, or you have no access.{suggestion}")
