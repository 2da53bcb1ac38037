"""Fixtures of the rotators' tests: systems with credentials to rotate."""

import pytest
from pytest_django import Settings

from sync_app.tests.rotators.worlds import (
    DatabaseWorld,
    Ed25519World,
    GeneratedWorld,
    MariaDbWorld,
    PostgreSqlWorld,
    World,
)
from tests.servers.fixtures import postgresql, rotated_mariadb
from tests.servers.mariadb import RotatedMariaDb

__all__ = ["postgresql", "rotated_mariadb"]

DATABASES = ["mariadb", "mariadb_ed25519", "postgres"]
LOGINS = [*DATABASES]
ALL = [*LOGINS, "generated"]


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]


@pytest.fixture
def mariadb(rotated_mariadb: RotatedMariaDb) -> MariaDbWorld:
    return MariaDbWorld(rotated_mariadb)


@pytest.fixture
def mariadb_ed25519(rotated_mariadb: RotatedMariaDb) -> Ed25519World:
    return Ed25519World(rotated_mariadb)


@pytest.fixture
def postgres(postgresql: dict[str, str]) -> PostgreSqlWorld:
    return PostgreSqlWorld(postgresql)


@pytest.fixture
def generated() -> GeneratedWorld:
    return GeneratedWorld()


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
