"""Three OpenBaos behind a load balancer, of which two are standbys that answer reads: all is delivered, none disowned."""

import json
import time
from collections.abc import Iterator

import hvac
import pytest

from environments_app.tests.cast import Cast
from sync_app.applying import batch
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.rotation_state import Step
from sync_app.jobs import worker_pool
from sync_app.models import Rotation, Run, SyncEntry
from sync_app.planning import discovery
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.runs import runner
from sync_app.tests.applying.stage import Stage
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, stages, waited, worked
from tests.servers.openbao_cluster import Cluster, serving

SHORT = pytest.param(30, 2, id="short")
LONG = pytest.param(1_000, 50, id="long", marks=pytest.mark.torture)
# Until the last node shows what was written last.
CAUGHT_UP_SECONDS = 20
# Until the nodes that are left have an active one, and a run that met none has gone on.
ELECTED_SECONDS = 60


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with serving(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(autouse=True)
def _pauses_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (batch, discovery):
        monkeypatch.setattr(module, "LOOK_PAUSES", worker_pool.LOOK_PAUSES)


def run(stage: Stage) -> Run:
    """Carry a run out until it has ended; a cluster without an active node is waited for."""
    until = time.monotonic() + ELECTED_SECONDS
    done = runner.execute(runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    while done is not None and done.state == "queued":
        assert time.monotonic() < until, done.error
        time.sleep(0.5)
        Run.objects.filter(pk=done.pk).update(not_before=None, attempts=1)
        done = runner.execute(done.pk)
    assert done is not None
    return done


def shown(cluster: Cluster, stage: Stage, name: str) -> set[str]:
    """Return what the living nodes show of a secret."""
    found = set()
    for node in cluster.living:
        client = hvac.Client(url=f"http://127.0.0.1:{node.port}", token=cluster.token)
        try:
            reply = client.secrets.kv.v2.read_secret_version(
                stage.path(name), mount_point="secret", raise_on_deleted_version=True
            )
            content = reply["data"]["data"]
            found.add(content["value"] if set(content) == {"value"} else json.dumps(content, sort_keys=True))
        except hvac.exceptions.VaultError:
            found.add("")
    return found


def delivered(cluster: Cluster, stage: Stage, names: list[str], value: str) -> None:
    until = time.monotonic() + CAUGHT_UP_SECONDS
    for name in names:
        while shown(cluster, stage, name) != {value}:
            assert time.monotonic() < until, (name, shown(cluster, stage, name))
            time.sleep(0.1)
    rows = SyncEntry.objects.filter(target=stage.target).values_list("state", "ownership")
    assert set(rows) == {("in_sync", "created")}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("number", "rotations"), [SHORT, LONG])
def test_all_is_delivered_and_none_disowned(
    cast: Cast, cluster: Cluster, postgres: PostgreSqlWorld, number: int, rotations: int
) -> None:
    stage = Stage(cast, VaultWorld(cluster.url, cluster.token))
    names = [f"app/{place:04}" for place in range(number)]
    for value in ("first", "second"):
        for name in names:
            stage.keep(name, value)
        done = run(stage)
        assert (done.state, done.written, done.error) == ("done", number, "")
        # At once, while the standbys may still show what was there before.
        assert run(stage).plan.counts == {"unchanged": number}  # type: ignore[union-attr]
        delivered(cluster, stage, names, value)
    cluster.kill_active()
    for name in names:
        stage.keep(name, "third")
    done = run(stage)
    assert done.state == "done", done.error
    delivered(cluster, stage, names, "third")
    secret = made_secret(cast, postgres, name="login")
    policy = made_policy(cast, postgres, secret=secret)
    run(stage)
    for _ in range(rotations):
        rotation = rotated(cast, stage, cluster, asked(cast, policy))
        assert rotation.step == Step.DONE, (rotation.step, rotation.problem)
        # Of what any reader gets from any node, each logs in.
        current = stages(cast, secret)["current"]
        assert current is not None
        assert shown(cluster, stage, "login") == {json.dumps(json.loads(current), sort_keys=True)}
        assert postgres.works(current)
    assert {entry.ownership for entry in SyncEntry.objects.filter(target=stage.target)} == {"created"}


def rotated(cast: Cast, stage: Stage, cluster: Cluster, rotation: Rotation) -> Rotation:
    """Carry a rotation to its end, with a pass of the sync after each step."""
    for _ in range(20):
        rotation = worked(waited(rotation))
        if rotation.has_ended or rotation.stopped_at:
            return rotation
        done = run(stage)
        assert done.state == "done", done.error
        if rotation.step == Step.GRACE:
            # Delivered just now: no login ends before the last reader may know, whatever the grace.
            held = worked(waited(grace_over(rotation)))
            assert (held.step, held.problem) == (
                Step.GRACE,
                "waits for the target's readers to see the current version",
            )
            until = time.monotonic() + CAUGHT_UP_SECONDS
            while len(shown(cluster, stage, "login")) > 1:
                assert time.monotonic() < until
        SyncEntry.objects.filter(target=stage.target).update(synced_at=None)
    return rotation
