"""Asks the guards of a secret's value before another actor writes it, or removes the secret.

settings.KEEPER_WRITE_GUARDS lists them by dotted path. They are asked before the transaction, so that
they may try the value on another system, and once more inside it, where they hold what they looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.db.joint_queries import Statement
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret


@dataclass(frozen=True)
class Confirm:
    """Asks a guard once more, in the transaction of the change.

    `queries` names all that it asks, if that is known and locks nothing.
    """

    ask: Callable[[], None]
    queries: Callable[[], Sequence[Statement]] | None = None

    def __call__(self) -> None:
        """Raise ManagedValue or StaleVersion if what was looked at has changed in the meantime."""
        self.ask()


class WriteGuard(Protocol):
    """One app's guard of writes."""

    def __call__(self, *, actor: Principal, secret: Secret, value: str | None) -> Confirm:
        """Let a new value pass, or (None) the end of the secret; raises ManagedValue.

        What is returned is called in the transaction of the change, after its row was claimed, and
        raises ManagedValue or StaleVersion if what was looked at has changed in the meantime.
        """
        ...

    def queries(self, secret: Secret) -> Sequence[Statement]:
        """Return the queries by which the guard begins, for `joint_queries`."""
        ...


@cache
def write_guards() -> tuple[WriteGuard, ...]:
    """Return the configured guards."""
    return tuple(import_string(path) for path in settings.KEEPER_WRITE_GUARDS)


def queries_of_guards(secret: Secret) -> list[Statement]:
    """Return the queries by which the guards begin."""
    return [query for guard in write_guards() for query in guard.queries(secret)]


def run_write_guards(*, actor: Principal, secret: Secret, value: str | None) -> Confirm:
    """Ask all guards about a value, or about the end of a secret; return what asks them once more.

    Call it outside a transaction. Raises ManagedValue, KeyUnavailable, Tampered.
    """
    confirms = [guard(actor=actor, secret=secret, value=value) for guard in write_guards()]

    def confirm() -> None:
        for again in confirms:
            again()

    named = [each.queries for each in confirms if each.queries is not None]
    plain = len(named) == len(confirms)
    return Confirm(confirm, (lambda: [query for each in named for query in each()]) if plain else None)
