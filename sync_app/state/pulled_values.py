"""What Keeper stores of a target's value: its type, and why it refuses one."""

import json

from secrets_app.errors import InvalidInput
from secrets_app.secret_types.registry import SecretType, inspect


def explain_refusal(value: str, *, held_type: str) -> str:
    """Return why Keeper cannot store a target's value; empty if it can.

    `held_type` is the type of Keeper's secret of this name; empty where Keeper has none.
    """
    try:
        inspect(SecretType(held_type) if held_type else infer_type(value), value)
    except InvalidInput as error:
        return f"Keeper does not take the target's value: {error.reason}"
    return ""


def infer_type(value: str) -> SecretType:
    """Return the type of a secret that is new to Keeper: JSON if the value is an object, else text."""
    try:
        return SecretType.JSON if isinstance(json.loads(value), dict) else SecretType.TEXT
    except (ValueError, RecursionError):
        return SecretType.TEXT
