"""Declares the environment variables of Keeper: name, type, default, unit and help, in one place each.

`.env.example` and the tables of docs/configuration.md are generated from these declarations
(`python -m tools.configuration_reference`).
"""

from dataclasses import dataclass, field
from typing import Any, Final

from keeper_project.config.env import LiteralEnv

ENV: Final = LiteralEnv()


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One environment variable. `default` is as it is written in the environment.

    `unset` describes what applies if the variable is not set, if that is not simply the default. `example` is
    what `.env.example` shows in place of the default.
    """

    name: str
    kind: str
    help: str
    default: str = ""
    unset: str = ""
    example: str = ""


@dataclass
class Group:
    """Variables of one subject. `page` is the document that explains the subject, within docs/."""

    title: str
    page: str = ""
    variables: list[Variable] = field(default_factory=list)

    def __post_init__(self) -> None:
        GROUPS.append(self)

    def text(self, name: str, default: str = "", *, help: str, unset: str = "", example: str = "") -> str:
        self._declare(name, "text", default, help=help, unset=unset, example=example)
        return str(ENV.str(name, default=default))

    def whole(self, name: str, default: int, *, unit: str, help: str) -> int:
        """Declare and read a whole number of `unit`. Raises ValueError for anything else."""
        self._declare(name, unit, str(default), help=help)
        return int(ENV.int(name, default=default))

    def decimal(self, name: str, default: float, *, unit: str, help: str) -> float:
        """Declare and read a number of `unit`, fractions allowed. Raises ValueError for anything else."""
        self._declare(name, unit, f"{default:g}", help=help)
        return float(ENV.float(name, default=default))

    def switch(self, name: str, *, default: bool, help: str, unset: str = "", example: str = "") -> bool:
        self._declare(name, "true or false", str(default).lower(), help=help, unset=unset, example=example)
        return bool(ENV.bool(name, default=default))

    def several(self, name: str, default: tuple[str, ...] = (), *, help: str, unset: str = "") -> list[str]:
        """Declare and read texts that commas separate."""
        self._declare(name, "list", ",".join(default), help=help, unset=unset)
        return [str(each) for each in ENV.list(name, default=list(default))]

    def mapping(self, name: str, *, help: str, example: str) -> Any:
        """Declare a JSON object, and read JSON of any kind, which a check judges. Raises ValueError."""
        self._declare(name, "JSON object", "", help=help, unset="none", example=example)
        return ENV.json(name, default={})

    def _declare(
        self, name: str, kind: str, default: str, *, help: str, unset: str = "", example: str = ""
    ) -> None:
        variable = Variable(name=name, kind=kind, help=help, default=default, unset=unset, example=example)
        self.variables.append(variable)


# In the order of their declaration.
GROUPS: Final[list[Group]] = []
