"""Gives revealed values the names that an export format can hold."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from secrets_app.errors import InvalidInput
from secrets_app.services.read import ExportedValue

DOTENV: Final = "dotenv"
KUBERNETES: Final = "kubernetes"
_NOT_IN_VARIABLES: Final = re.compile(r"[^A-Za-z0-9_]")
# The keys of a Secret's data take letters, digits, `-`, `_` and `.`.
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9._-]")
# The API server refuses larger Secrets; names and Base64 count along.
_MAX_KUBERNETES: Final = 1024 * 1024


def export_values(exported: Iterable[ExportedValue], *, format: str) -> dict[str, str]:
    """Return name → value in the order of names; where a format takes fewer names, they are made to fit.

    Raises InvalidInput if two secrets would get one name (none may be lost), or if a Kubernetes
    Secret would be larger than 1 MiB.
    """
    fitted = {DOTENV: variable_name, KUBERNETES: kubernetes_key}.get(format)
    named = [(fitted(item.name), item.value) for item in exported] if fitted else list(exported)
    values = dict(named)
    if len(values) < len(named):
        twice = next(name for name, count in Counter(name for name, _ in named).items() if count > 1)
        raise InvalidInput("format", f"Two secrets would both be {twice}: rename one, or export a prefix.")
    if format == KUBERNETES and _size(values) > _MAX_KUBERNETES:
        raise InvalidInput("format", "A Kubernetes Secret holds at most 1 MiB: export by prefixes.")
    return values


def variable_name(name: str) -> str:
    """Return a secret's name as an environment variable's: `payments/stripe-key` → PAYMENTS_STRIPE_KEY."""
    variable = _NOT_IN_VARIABLES.sub("_", name).upper()
    return f"_{variable}" if variable[0].isdigit() else variable


def kubernetes_key(name: str) -> str:
    """Return a secret's name as a key of a Kubernetes Secret: `payments/stripe-key` → payments.stripe-key."""
    return _NOT_IN_KEYS.sub("_", name.replace("/", "."))


def _size(values: dict[str, str]) -> int:
    # Base64 writes three bytes as four.
    return sum(len(name) + (len(value.encode()) + 2) // 3 * 4 for name, value in values.items())
