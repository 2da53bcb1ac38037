"""Fixtures of the adversary suite: clusters of its own, and whatever a backend's adversary takes."""

from collections.abc import Callable, Iterator
from random import Random

import pytest
from celery import current_app
from pytest_django import Settings

from sync_app.tests.adversary.aws_world import AwsAdversary
from sync_app.tests.adversary.kubernetes_world import KubernetesAdversary
from sync_app.tests.adversary.vault_world import SHARED, Bao, VaultAdversary
from sync_app.tests.adversary.worlds import AdversaryWorld
from sync_app.tests.worlds import AwsWorld, KubernetesWorld, VaultWorld
from tests.aws_strict.faults import Plan
from tests.kubernetes_strict.server import serving
from tests.servers.openbao import OpenBao

Make = Callable[[str, Random, Callable[[], str]], AdversaryWorld]


@pytest.fixture(autouse=True)
def _no_nudges(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(current_app, "send_task", lambda *_, **__: None)


@pytest.fixture(scope="package")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two OpenBaos that know the same token: no other test uses them, so snapshots can be restored."""
    servers = [OpenBao(tmp_path_factory.mktemp("clusters")) for _ in range(2)]
    try:
        for server in servers:
            server.start()
        urls = []
        for server in servers:
            server.wait()
            urls.append(server.environment()["KEEPER_TEST_OPENBAO_URL"])
            Bao(urls[-1], server.token).ask(
                "POST", "auth/token/create", {"id": SHARED, "policies": ["root"], "no_default_policy": True}
            )
        yield urls[0], urls[1]
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def vault_kv2(clusters: tuple[str, str]) -> Make:
    def make(variant: str, random: Random, fresh: Callable[[], str]) -> AdversaryWorld:
        return VaultAdversary(VaultWorld(clusters[0], SHARED), variant, random, fresh, other=clusters[1])

    return make


@pytest.fixture
def aws_secrets_manager(strict_aws: tuple[str, Plan], moto_url: str) -> Make:
    url, plan = strict_aws
    plan.clear()

    def make(variant: str, random: Random, fresh: Callable[[], str]) -> AdversaryWorld:
        return AwsAdversary(AwsWorld(url, moto_url, plan), variant, random, fresh)

    return make


@pytest.fixture
def kubernetes() -> Iterator[Make]:
    with serving() as (url, cluster), serving() as other:

        def make(variant: str, random: Random, fresh: Callable[[], str]) -> AdversaryWorld:
            return KubernetesAdversary(KubernetesWorld(url, cluster), variant, random, fresh, other=other)

        yield make


@pytest.fixture
def make_world(request: pytest.FixtureRequest, backend: str) -> Make:
    """Return what makes the adversary of a backend: the fixture of its name."""
    made: Make = request.getfixturevalue(backend)
    return made
