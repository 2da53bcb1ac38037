"""Reads of Vault lag behind its writes: everything is delivered, and nothing of Keeper's is disowned.

A standby of OpenBao answers reads (its default since 2.5), some tenths of a second late.
"""

from collections.abc import Callable

import pytest

from environments_app.models import Alert
from environments_app.tests.cast import Cast
from sync_app.applying import batch
from sync_app.backends.vault.tests.applying.lagging import LaggingReads
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.delivery_state import DeliveryState
from sync_app.jobs import worker_pool
from sync_app.models import PlanItem, Run, SyncEntry
from sync_app.models.plan import Act
from sync_app.planning import discovery
from sync_app.runs import runner
from sync_app.targets import alerts
from sync_app.tests.applying.stage import Stage

UNSEEN = alerts.KINDS[DeliveryState.UNKNOWN]
NAMES = [f"app/{number:02}" for number in range(6)]
Lag = Callable[[float], LaggingReads]


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> Stage:
    return Stage(cast, vault)


@pytest.fixture
def lag(monkeypatch: pytest.MonkeyPatch) -> Lag:
    """Return what has reads lag from now on, and the engine look again as it does in production."""

    def begin(seconds: float) -> LaggingReads:
        for module in (batch, discovery):
            monkeypatch.setattr(module, "LOOK_PAUSES", worker_pool.LOOK_PAUSES)
        return LaggingReads(monkeypatch, seconds=seconds)

    return begin


def run(stage: Stage) -> Run:
    """Carry a run out until it has ended, without the waits between its attempts."""
    done = runner.execute(runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    while done is not None and done.state == "queued":
        Run.objects.filter(pk=done.pk).update(not_before=None)
        done = runner.execute(done.pk)
    assert done is not None
    return done


def delivered(stage: Stage, value: str) -> bool:
    """Say whether the target holds a value at every name, as Keeper's, in sync, with nothing left to do."""
    states = {stage.entry(name).state for name in NAMES}
    owners = {stage.entry(name).ownership for name in NAMES}
    return (
        {stage.theirs(name) for name in NAMES} == {value}
        and states == {"in_sync"}
        and owners == {"created"}
        and stage.sync().counts == {"unchanged": len(NAMES)}
    )


def test_twelve_of_twelve_are_delivered_where_reads_are_late(stage: Stage, lag: Lag) -> None:
    reads = lag(0.2)
    for value in ("first", "second"):
        for name in NAMES:
            stage.keep(name, value)
        done = run(stage)
        assert (done.state, done.written, done.failed, done.skipped) == ("done", len(NAMES), 0, 0)
        # At once: the next pass meets the same late reads.
        assert delivered(stage, value)
    assert reads.stale > 2 * len(NAMES)


def test_values_that_change_in_each_pass_arrive(stage: Stage, lag: Lag) -> None:
    """Each pass begins while the reads still show the state before the last one."""
    lag(0.2)
    for number in range(5):
        stage.keep("one", str(number))
        assert run(stage).state == "done"
        assert stage.entry("one").state == "in_sync"
    assert stage.theirs("one") == "4"


@pytest.mark.parametrize("existed", [False, True], ids=["create", "update"])
def test_a_write_that_no_look_shows_is_unknown_and_looked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    if existed:
        stage.keep("one", "first")
        stage.sync()
    stage.keep("one", "second")
    with monkeypatch.context() as patched:
        LaggingReads(patched, seconds=3600)
        done = run(stage)
        assert done.state == "failed"
        assert done.error.startswith(
            "nothing was delivered: one: it was written, and the target does not show"
        )
        entry = stage.entry("one")
        assert (entry.state, entry.ownership, entry.undelivered) == ("unknown", "created", 1)
        assert entry.intended_target
        # The next pass looks again, writes nothing, and decides nothing.
        plan = stage.sync()
        assert stage.items(plan) == {"one": ("unknown", "skipped")}
        assert not Alert.objects.filter(kind=UNSEEN, open=True).exists()
        stage.sync()
        assert Alert.objects.get(kind=UNSEEN, open=True).about == stage.target.uuid
    # One write, whatever was looked at.
    reply = stage.world.kv.read_secret_metadata(stage.path("one"), mount_point="secret")  # type: ignore[attr-defined]
    assert reply["data"]["current_version"] == (2 if existed else 1)
    assert stage.sync().counts == {"unchanged": 1}
    assert (stage.entry("one").state, stage.entry("one").undelivered) == ("in_sync", 0)
    assert not Alert.objects.filter(kind=UNSEEN, open=True).exists()


def test_a_look_that_stays_old_is_believed_in_the_end(stage: Stage, vault: VaultWorld) -> None:
    """The secret was removed just after the write: the fourth pass writes it again."""
    stage.keep("one", "first")
    with pytest.MonkeyPatch.context() as patched:
        LaggingReads(patched, seconds=3600)
        run(stage)
    vault.kv.delete_metadata_and_all_versions(stage.path("one"), mount_point="secret")
    acts = [stage.items(stage.sync())["one"][0] for _ in range(3)]
    assert acts == [Act.UNKNOWN, Act.UNKNOWN, Act.CREATE]
    assert stage.theirs("one") == "first"


def test_what_changed_in_keeper_while_a_write_is_unknown_follows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.keep("one", "first")
    with monkeypatch.context() as patched:
        LaggingReads(patched, seconds=3600)
        run(stage)
        stage.keep("one", "second")
        assert PlanItem.objects.get(plan=stage.sync(), name="one").act == Act.UNKNOWN
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("one") == "second"


def test_a_plan_alone_does_not_end_a_failure(stage: Stage) -> None:
    """Nothing was tried since: its alert closes with its delivery."""
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    SyncEntry.objects.update(state=DeliveryState.FAILED, reason="refused", undelivered=1)
    stage.plan()
    assert (stage.entry("one").state, stage.entry("one").reason) == ("failed", "refused")
    stage.sync()
    assert (stage.entry("one").state, stage.entry("one").undelivered) == ("in_sync", 0)
