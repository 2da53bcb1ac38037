"""What higher apps inject into secrets: panels, and guards of a value.

settings.KEEPER_SECRET_PANELS lists the panels by dotted path: delivery, rotation. A panel stands on a
secret's page, with cells and filters of the list.

settings.KEEPER_WRITE_GUARDS lists the guards by dotted path. They decide before another actor writes the
value or removes the secret. They are called before the transaction, so that they may try the value on
another system, and once more inside it, where they hold what they looked at.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils.module_loading import import_string

from core.db.statements import Statement
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A state beside a secret in a list: one that the pages know, and what it is about."""

    state: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter of the list of secrets; `condition` is asked for one of the choices' names alone."""

    label: str
    choices: Mapping[str, str]
    condition: Callable[[str], Q]


class SecretPanel(Protocol):
    """One app's part of the pages of secrets."""

    filters: Mapping[str, Filter]

    def panel(self, *, actor: Principal, secret: Secret) -> Mapping[str, Any] | None:
        """Return what the panel's `template` shows, or None; a number of statements that is constant.

        `on_editing`, if present, is a notice for users who edit the secret.
        """
        ...

    def cells(self, *, actor: Principal, secrets: Sequence[Secret]) -> Mapping[UUID, Sequence[Cell]]:
        """Return the cells of each secret by its uuid, with one statement for all of them.

        What the actor may not see is not named in a label.
        """
        ...


@cache
def secret_panels() -> tuple[SecretPanel, ...]:
    """Return the configured parts."""
    return tuple(import_string(path)() for path in settings.KEEPER_SECRET_PANELS)


def panels_of(*, actor: Principal, secret: Secret) -> list[Mapping[str, Any]]:
    """Return the panels of a secret's page, each with its `template`."""
    panels = (part.panel(actor=actor, secret=secret) for part in secret_panels())
    return [panel for panel in panels if panel is not None]


def cells_of(*, actor: Principal, secrets: Sequence[Secret]) -> dict[UUID, list[Cell]]:
    """Return the cells of each secret of a list."""
    found: dict[UUID, list[Cell]] = defaultdict(list)
    if secrets:
        for part in secret_panels():
            for uuid, cells in part.cells(actor=actor, secrets=secrets).items():
                found[uuid].extend(cells)
    return found


def panel_filters() -> dict[str, Filter]:
    """Return the filters that the parts add to the list of secrets, by their names."""
    return {name: each for part in secret_panels() for name, each in part.filters.items()}


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
