"""What other apps add to the page of an environment, for those who may see its settings.

settings.KEEPER_ENVIRONMENT_PANELS lists them by dotted path: keys.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from environments_app.models import Environment


class EnvironmentPanel(Protocol):
    """One app's part of the page of an environment."""

    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        """Return what the panel's `template` shows, with its `anchor` and `title` for the page's contents.

        The number of statements is constant.
        """
        ...


@cache
def environment_panels() -> tuple[EnvironmentPanel, ...]:
    """Return the configured parts."""
    return tuple(import_string(path)() for path in settings.KEEPER_ENVIRONMENT_PANELS)


def panels_of(environment: Environment) -> list[Mapping[str, Any]]:
    """Return the panels of an environment's page, each with its `template`."""
    return [part.panel(environment=environment) for part in environment_panels()]
