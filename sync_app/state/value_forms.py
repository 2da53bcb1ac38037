"""In which form a target's rule writes JSON secrets, and whether one was last written in another form."""

from dataclasses import replace
from typing import Final

from secrets_app.secret_types.registry import SecretType
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
