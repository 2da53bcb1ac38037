"""Gives revealed values the names that an export format can hold."""

import re
from collections.abc import Iterable
from typing import Final

from secrets_app.input_errors import InvalidInput
from secrets_app.reading import Exported

DOTENV: Final = "dotenv"
_NOT_IN_VARIABLES: Final = re.compile(r"[^A-Za-z0-9_]")


def export_values(exported: Iterable[Exported], *, format: str) -> dict[str, str]:
    """Return name → value in the order of names; for dotenv the names are those of variables.

    Raises InvalidInput if two secrets would become one variable: none may be lost.
    """
    values: dict[str, str] = {}
    for item in exported:
        name = variable_name(item.name) if format == DOTENV else item.name
        if name in values:
            raise InvalidInput("format", f"Two secrets would both be {name}: rename one, or export a prefix.")
        values[name] = item.value
    return values


def variable_name(name: str) -> str:
    """Return a secret's name as an environment variable's: `payments/stripe-key` → PAYMENTS_STRIPE_KEY."""
    variable = _NOT_IN_VARIABLES.sub("_", name).upper()
    return f"_{variable}" if variable[0].isdigit() else variable
