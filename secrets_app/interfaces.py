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
from typing import Any, Final, Protocol
from uuid import UUID

from django.conf import settings
from django.db.models import BigIntegerField, BooleanField, Exists, ExpressionWrapper, F, OuterRef, Q, Value
from django.db.models.expressions import Combinable, Expression
from django.utils.module_loading import import_string

from core.db.prepared import Argument, PreparedQuery
from core.db.statements import Precondition
from environments_app.authorization.policy import Principal
from secrets_app.errors import StaleVersion
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
    """What the guards are asked once more, in the transaction of a change, after its row was claimed."""

    secret: Secret
    # Of guards that answer for the secret; each raises ManagedValue or StaleVersion.
    again: Sequence[Callable[[], None]] = ()

    def __call__(self) -> None:
        """Raise ManagedValue or StaleVersion if what was looked at has changed in the meantime."""
        for ask in self.again:
            ask()

    def preconditions(self) -> list[Precondition]:
        """Return that still no guard answers for a secret for which none did."""
        if self.again or not write_guards():
            return []
        return [Precondition(_GUARDED.statement(self.secret.pk), StaleVersion(_GUARDED_SINCE))]


class WriteGuard(Protocol):
    """One app's guard of writes."""

    def answers_for(self, secret: Expression | F) -> Exists:
        """Return the condition that the guard answers for a secret, by an expression of its uuid."""
        ...

    def __call__(self, *, actor: Principal, secret: Secret, value: str | None) -> Callable[[], None]:
        """Let a new value pass, or (None) the end of the secret; raises ManagedValue.

        What is returned is called in the transaction of the change, after its row was claimed, and
        raises ManagedValue or StaleVersion if what was looked at has changed in the meantime.
        """
        ...


@cache
def write_guards() -> tuple[WriteGuard, ...]:
    """Return the configured guards."""
    return tuple(import_string(path) for path in settings.KEEPER_WRITE_GUARDS)


def guarded(secret: Expression | F) -> Combinable:
    """Return the condition that a guard answers for a secret, by an expression of its uuid."""
    answers = Q(*(guard.answers_for(secret) for guard in write_guards()), _connector=Q.OR)
    return ExpressionWrapper(answers, BooleanField()) if answers else Value(False)


_GUARDED: Final = PreparedQuery(
    lambda: (
        Secret.objects.filter(guarded(OuterRef("uuid")), pk=Argument(0, BigIntegerField()))
        .order_by()
        .values_list("pk")
    )
)
_GUARDED_SINCE: Final = "The secret's rotation policy was changed meanwhile. Try again; nothing was written."


def run_write_guards(
    *, actor: Principal, secret: Secret, value: str | None, is_guarded: bool | None = None
) -> Confirm:
    """Ask all guards about a value, or about the end of a secret; return what asks them once more.

    `is_guarded` is whether one answers for the secret, if the caller has just asked. Call it outside a
    transaction. Raises ManagedValue, KeyUnavailable, Tampered.
    """
    if is_guarded is None:
        is_guarded = bool(write_guards()) and _GUARDED.first(secret.pk) is not None
    if not is_guarded:
        return Confirm(secret)
    return Confirm(secret, [guard(actor=actor, secret=secret, value=value) for guard in write_guards()])
