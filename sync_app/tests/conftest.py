"""Fixtures of the sync's tests: systems to sync with."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from sync_app.jobs import leases
from sync_app.jobs.leases import database_now
from sync_app.tests.variable_worlds import GitHubVariablesWorld, GitHubWorld, GitLabWorld
from sync_app.tests.worlds import AwsWorld, KubernetesWorld, ParameterWorld, VaultWorld, World
from tests.aws_strict.faults import Plan
from tests.kubernetes_strict.server import serving
from tests.rest_strict import application as rest_strict
from tests.rest_strict.github import GitHub
from tests.rest_strict.gitlab import GitLab
from tests.servers.fixtures import moto_url, openbao, strict_aws
from tests.servers.openbao import OpenBao

__all__ = ["moto_url", "openbao", "strict_aws"]

# Systems with compare-and-set and a recovery window, and all of them.
FULL = ["aws", "vault"]
EVERY = [*FULL, "ssm", "kubernetes", "github", "github_variables", "gitlab"]
Jump = Callable[..., None]
right_now = timezone.now


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


@pytest.fixture(scope="module")
def second_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Another OpenBao, which is another cluster: one for all tests of a file, as it takes seconds to start."""
    server = OpenBao(tmp_path_factory.mktemp("second_vault"))
    try:
        server.start()
        server.wait()
        addresses = server.environment()
        yield addresses["KEEPER_TEST_OPENBAO_URL"], addresses["KEEPER_TEST_OPENBAO_TOKEN"]
    finally:
        server.stop()


@pytest.fixture
def ssm(strict_aws: tuple[str, Plan], moto_url: str) -> Iterator[ParameterWorld]:
    url, plan = strict_aws
    plan.clear()
    yield ParameterWorld(url, moto_url, plan)
    plan.clear()


@pytest.fixture
def kubernetes() -> Iterator[KubernetesWorld]:
    with serving() as (url, cluster):
        yield KubernetesWorld(url, cluster)


@pytest.fixture
def github() -> Iterator[GitHubWorld]:
    stand_in = GitHub()
    with rest_strict.serving(stand_in) as url:
        yield GitHubWorld(url, stand_in)


@pytest.fixture
def github_variables(db: None) -> Iterator[GitHubVariablesWorld]:
    """The variables of a GitHub, with the database that holds the key of their versions."""
    stand_in = GitHub()
    with rest_strict.serving(stand_in) as url:
        yield GitHubVariablesWorld(url, stand_in)


@pytest.fixture
def gitlab(db: None) -> Iterator[GitLabWorld]:
    """A GitLab, with the database that holds the key of its versions."""
    stand_in = GitLab()
    with rest_strict.serving(stand_in) as url:
        yield GitLabWorld(url, stand_in)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of `world` in the two systems that can do everything, and with EVERY_SYSTEM in each."""
    marks = metafunc.definition.iter_markers("parametrize")
    # The systems whose credentials rotate are another fixture, of the same name.
    rotates = metafunc.module.__name__.startswith(("sync_app.tests.rotation.", "sync_app.tests.rotators."))
    is_asked = "world" in metafunc.fixturenames and not rotates
    if is_asked and not any("world" in str(mark.args[0]) for mark in marks):
        names = EVERY if getattr(metafunc.module, "EVERY_SYSTEM", False) else FULL
        metafunc.parametrize("world", names, indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Set the database's clock so many days off, and with `everybody` those of the workers as well."""

    def moved(days: int, *, everybody: bool = False) -> None:
        seconds = days * 86_400
        clocks = {
            "mysql": f"SELECT UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND",
            "sqlite": f"SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'now', '{seconds:+d} seconds')",
        }
        monkeypatch.setitem(leases._CLOCKS, connection.vendor, clocks[connection.vendor])
        ahead = timedelta(seconds=seconds if everybody else 0)
        monkeypatch.setattr(timezone, "now", lambda: right_now() + ahead)
        off = database_now() - right_now()
        assert abs(off - timedelta(seconds=seconds)) < timedelta(minutes=1)

    return moved
