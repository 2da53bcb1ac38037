"""What values are on either side: the form in which a target takes them, and the type that Keeper takes."""

import json
from dataclasses import replace
from typing import Final

from secrets_app.errors import InvalidInput
from secrets_app.types.registry import SecretType, inspect
from sync_app.backends.registry import BACKENDS
from sync_app.domain.reconciliation import Side
from sync_app.models import SyncEntry, Target
from sync_app.state.local_state import LocalSecret

REWRITTEN: Final = "the target's rule for JSON objects changed: it is written in the new form"


def form_of(target: Target) -> str:
    """Return the form in which a target's rule writes JSON objects; empty for one text."""
    kind = BACKENDS.get(target.backend)
    return kind.value_form(target.destination) if kind else ""


def is_in_other_form(target: Target, local: LocalSecret | None, entry: SyncEntry | None) -> bool:
    """Return whether a JSON secret was last synced under another rule for objects."""
    if local is None or entry is None or not entry.base_keeper or local.secret_type != SecretType.JSON:
        return False
    return entry.base_form != form_of(target)


def keeper_side(target: Target, local: LocalSecret, entry: SyncEntry | None) -> Side:
    """Return Keeper's side for `reconcile`: a secret to be written in another form counts as changed."""
    side = local.as_side
    if not is_in_other_form(target, local, entry):
        return side
    return replace(side, version=f"{side.version} {form_of(target)}")


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
