"""Where the secrets of a place of the source go: an environment and a name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from environments_app.models import Environment
from secrets_app.models import Secret
from secrets_app.values.names import MAX_NAME_LENGTH

_OTHER: Final = re.compile(r"[^A-Za-z0-9_.+=@/-]")
_DOTS: Final = re.compile(r"\.{1,2}")


class How(StrEnum):
    """What of a path names the environment."""

    # Nothing: the whole place goes into one environment, below a prefix.
    ALL = "all"
    # The first folder of the path: the rest is the name.
    FIRST_FOLDER = "first-folder"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Where the secrets of one place go; `environments` has the uuids by first folder, or one by ""."""

    place: str
    how: How
    environments: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        return cls(
            place=stored["place"],
            how=How(stored["how"]),
            environments=stored["environments"],
            prefix=stored["prefix"],
        )

    def stored(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "how": str(self.how),
            "environments": dict(self.environments),
            "prefix": self.prefix,
        }

    def text(self, names: Mapping[str, str]) -> str:
        """Return the rule as people write it; `names` has those of the environments by uuid."""
        if self.how is How.ALL:
            return f"{self.place}={names[self.environments['']]}{f':{self.prefix}' if self.prefix else ''}"
        folders = ",".join(f"{folder}={names[uuid]}" for folder, uuid in self.environments.items())
        return f"{self.place}={How.FIRST_FOLDER}:{folders}"


class Placed(NamedTuple):
    """The environment (its uuid) and the name of a path; `fault` is why it has none."""

    environment: str
    name: str
    fault: str = ""


def place(rule: Rule, path: str) -> Placed:
    """Return where a path of the rule's place goes; the name is not checked."""
    folder, slash, rest = path.partition("/")
    if rule.how is How.ALL:
        return Placed(rule.environments[""], f"{rule.prefix}/{path}" if rule.prefix else path)
    if not slash:
        return Placed("", "", "it lies in no folder, and the rule takes the environment from the first one")
    if folder not in rule.environments:
        return Placed("", "", f"the rule names no environment for the folder {folder[:100]}")
    return Placed(rule.environments[folder], f"{rule.prefix}/{rest}" if rule.prefix else rest)


def usable_name(name: str) -> str:
    """Return a name with each character that Keeper has not in names as `_`, and no empty segment."""
    segments = [_OTHER.sub("_", segment) or "_" for segment in name.split("/")]
    renamed = "/".join(re.sub(r"\.", "_", each) if _DOTS.fullmatch(each) else each for each in segments)
    return renamed[:MAX_NAME_LENGTH].rstrip("/")


def is_numbered_name(name: str, base: str) -> bool:
    """Return whether a name is another, or that with a number at its end as `free_name` makes it."""
    start = f"{base[: MAX_NAME_LENGTH - 8]}-"
    return name == base or (name.startswith(start) and name.removeprefix(start).isdecimal())


def numbered_names(environment: Environment, base: str) -> list[str]:
    """Return the names of living secrets that are a name with a number at its end."""
    near = Secret.objects.filter(
        environment=environment, live=True, name__startswith=f"{base[: MAX_NAME_LENGTH - 8]}-"
    )
    return [name for name in near.values_list("name", flat=True) if is_numbered_name(name, base)]


def free_name(name: str, taken: Sequence[str] | set[str]) -> str:
    """Return a name that is not taken: with -2, -3 … at its end if it is."""
    if name not in taken:
        return name
    number = 2
    while (other := f"{name[: MAX_NAME_LENGTH - 8]}-{number}") in taken:
        number += 1
    return other
