"""What other apps add to the pages of secrets: a panel on a secret's page, cells and filters of the list.

settings.KEEPER_SECRET_PANELS lists them by dotted path: delivery, rotation.
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
