"""Asks the guards of a secret's value before another actor writes it, or removes the secret.

settings.KEEPER_WRITE_GUARDS lists them by dotted path. They are asked before the transaction, so that
they may try the value on another system, and once more inside it, where they hold what they looked at.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from environments_app.authorization.policy import Principal
from secrets_app.models import Secret

Confirm = Callable[[], None]


class WriteGuard(Protocol):
    """One app's guard of writes."""

    def __call__(self, *, actor: Principal, secret: Secret, value: str | None) -> Confirm:
        """Let a new value pass, or (None) the end of the secret; raises ManagedValue.

        What is returned is called in the transaction of the change, after its row was claimed, and
        raises ManagedValue or StaleVersion if what was looked at has changed in the meantime.
        """
        ...


@cache
def write_guards() -> tuple[WriteGuard, ...]:
    """Return the configured guards."""
    return tuple(import_string(path) for path in settings.KEEPER_WRITE_GUARDS)


def run_write_guards(*, actor: Principal, secret: Secret, value: str | None) -> Confirm:
    """Ask all guards about a value, or about the end of a secret; return what asks them once more.

    Call it outside a transaction. Raises ManagedValue, KeyUnavailable, Tampered.
    """
    confirms = [guard(actor=actor, secret=secret, value=value) for guard in write_guards()]

    def confirm() -> None:
        for again in confirms:
            again()

    return confirm
