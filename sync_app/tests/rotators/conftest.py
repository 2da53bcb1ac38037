"""Fixtures of the rotators' tests: systems with credentials to rotate."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from pytest_django import Settings

from sync_app.tests.rotators.worlds import (
    DatabaseWorld,
    Ed25519World,
    GeneratedWorld,
    IamWorld,
    MariaDbWorld,
    PostgreSqlWorld,
    World,
)
from tests.aws_strict.faults import Plan
from tests.aws_strict.server import serving
from tests.servers.fixtures import postgresql, rotated_mariadb
from tests.servers.mariadb import RotatedMariaDb
from tests.servers.moto import Moto

__all__ = ["postgresql", "rotated_mariadb"]

DATABASES = ["mariadb", "mariadb_ed25519", "postgres"]
LOGINS = [*DATABASES, "iam"]
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


@pytest.fixture(scope="session")
def strict_iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Plan, Any]]:
    """Start a moto of its own that checks signatures and policies, which the other tests' must not."""
    server = Moto(tmp_path_factory.mktemp("servers"))
    try:
        server.start()
        server.wait()
        url = server.environment()["KEEPER_TEST_MOTO_URL"]
        place: dict[str, Any] = {"region_name": "eu-central-1", "endpoint_url": url}
        setup = boto3.client("iam", aws_access_key_id="setup", aws_secret_access_key="setup", **place)
        setup.create_user(UserName="root")
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
        setup.put_user_policy(UserName="root", PolicyName="all", PolicyDocument=policy)
        key = setup.create_access_key(UserName="root")["AccessKey"]
        own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        requests.post(f"{url}/moto-api/reset-auth", data="0", timeout=60).raise_for_status()
        with serving(url) as (strict_url, plan):
            client: Any = boto3.client("iam", **place, **own)  # type: ignore[call-overload]
            yield strict_url, plan, client
    finally:
        server.stop()


@pytest.fixture
def iam(strict_iam: tuple[str, Plan, Any]) -> Iterator[IamWorld]:
    strict_iam[1].clear()
    yield IamWorld(*strict_iam)
    strict_iam[1].clear()


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
