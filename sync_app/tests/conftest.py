"""Fixtures of the sync's tests: systems to sync with."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from sync_app.tests.worlds import AwsWorld, VaultWorld, World
from tests.aws_strict.faults import Plan
from tests.servers.fixtures import moto_url, openbao, strict_aws
from tests.servers.openbao import OpenBao

__all__ = ["moto_url", "openbao", "strict_aws"]


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]


@pytest.fixture
def aws(strict_aws: tuple[str, Plan], moto_url: str) -> Iterator[AwsWorld]:
    url, plan = strict_aws
    plan.clear()
    yield AwsWorld(url, moto_url, plan)
    plan.clear()


@pytest.fixture
def vault(openbao: tuple[str, str]) -> VaultWorld:
    return VaultWorld(*openbao)


@pytest.fixture
def second_vault(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Another OpenBao, which is another cluster."""
    server = OpenBao(tmp_path)
    try:
        server.start()
        server.wait()
        addresses = server.environment()
        yield addresses["KEEPER_TEST_OPENBAO_URL"], addresses["KEEPER_TEST_OPENBAO_TOKEN"]
    finally:
        server.stop()


@pytest.fixture(params=["aws", "vault"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made
