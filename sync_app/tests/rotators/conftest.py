"""Fixtures of the rotators' tests: systems with credentials to rotate."""

import pytest

from sync_app.rotators.registry import ROTATORS
from sync_app.tests.rotators.worlds import DatabaseWorld, World
from sync_app.tests.systems import classes

WORLDS = classes(ROTATORS, "world", World)  # type: ignore[type-abstract]
ALL = [world.fixture for world in WORLDS]
LOGINS = [world.fixture for world in WORLDS if world.kind.supports_probe]
DATABASES = [world.fixture for world in WORLDS if issubclass(world, DatabaseWorld)]


@pytest.fixture(params=ALL)
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=LOGINS)
def logins(request: pytest.FixtureRequest) -> World:
    """Return a world whose values log in somewhere."""
    made: World = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> DatabaseWorld:
    made: DatabaseWorld = request.getfixturevalue(request.param)
    return made
