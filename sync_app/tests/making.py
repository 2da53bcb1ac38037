"""Targets for tests, made by the use case."""

from typing import Any

from environments_app.tests.cast import Cast
from sync_app.models import Target
from sync_app.targets import service as targets
from sync_app.tests.worlds import World


def made(cast: Cast, world: World, *, name: str = "first", **changes: Any) -> Target:
    """Create a target as alice, in her development environment unless told otherwise."""
    given: dict[str, Any] = {
        "actor": cast.principal(cast.alice),
        "environment": cast.development,
        "backend": world.kind,
        "destination": world.destination,
        "credentials": world.credentials,
    } | changes
    return targets.create(name=name, **given)
