"""A version in Vault is known by its number and by its time: after a snapshot was restored numbers come again."""

import contextlib
import time
from typing import Any

import hvac
import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.observations import version_number
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import SyncEntry
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World

pytestmark = pytest.mark.every_database_weekly


@pytest.fixture
def world(vault: VaultWorld) -> World:
    return vault


@pytest.fixture
def own(cast: Cast, second_vault: tuple[str, str]) -> Stage:
    """A target in a cluster of its own, of which snapshots are restored."""
    return Stage(cast, VaultWorld(*second_vault), deletion="recoverable", budget_percent=100)


def noted_by_number(stage: Stage) -> None:
    """Have the bases as an earlier Keeper noted them."""
    for entry in SyncEntry.objects.filter(target=stage.target):
        entry.base_target = str(version_number(entry.base_target))
        entry.save()


def reused(stage: Stage, value: str) -> None:
    """Restore a snapshot from before the last version, and have somebody else write that version's number."""
    assert isinstance(stage.world, VaultWorld)
    with stage.world.backend() as backend:
        before = backend.get_metadata("one")
        stage.edit("one", value)
        after = backend.get_metadata("one")
    assert version_number(before.version) + 1 == version_number(after.version)


@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
def test_a_number_that_is_used_again_is_another_version(own: Stage, conflict: str) -> None:
    own.rules(conflict=conflict)
    own.keep("one", "first")
    own.keep("kept", "value")
    own.sync()
    assert isinstance(own.world, VaultWorld)
    snapshot = own.world.client.sys.take_raft_snapshot().content
    own.keep("one", "second")
    own.sync()
    own.world.client.sys.force_restore_raft_snapshot(snapshot)
    wait_for(own, "first")
    reused(own, "theirs")
    counts = own.plan().counts
    act = "update" if conflict == "keeper_wins" else "drifted"
    assert counts == {"unchanged": 1, act: 1}
    own.rules(conflict="ask")
    own.drop("one")
    # What somebody else wrote is never deleted.
    assert own.sync().counts == {"conflict": 1, "unchanged": 1}
    assert own.theirs("one") == "theirs"


def wait_for(stage: Stage, value: str) -> None:
    """Wait until the restored cluster serves a value."""
    for _ in range(600):
        with contextlib.suppress(hvac.exceptions.VaultError, OSError):
            if stage.theirs("one") == value:
                return
        time.sleep(0.1)
    raise AssertionError("the snapshot was not restored")


def test_bases_of_an_earlier_keeper_are_taken_over_by_comparing_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        stage.keep(name, "first")
    stage.sync()
    noted_by_number(stage)
    read: list[str] = []
    kind = type(stage.world.backend())
    plain = kind.read_value

    def noting(self: Any, name: str) -> Any:
        read.append(name)
        return plain(self, name)

    monkeypatch.setattr(kind, "read_value", noting)
    assert stage.sync().counts == {"unchanged": 2}
    assert sorted(read) == ["one", "two"]
    assert stage.sync().counts == {"unchanged": 2}
    assert len(read) == 2
    assert "@" in stage.entry("one").base_target
    assert stage.entry("one").base_number == 1


def test_a_change_in_keeper_is_written_over_a_base_of_an_earlier_keeper(stage: Stage) -> None:
    stage.keep("one", "first")
    stage.sync()
    noted_by_number(stage)
    stage.keep("one", "second")
    assert stage.sync(rest=True).counts == {"update": 1}
    assert stage.theirs("one") == "second"


def test_another_value_under_the_number_of_an_earlier_keeper_is_a_conflict(stage: Stage) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.edit("one", "theirs")
    entry = stage.entry("one")
    entry.base_target = "2"
    entry.save()
    stage.keep("one", "second")
    assert stage.sync(rest=True).counts == {"conflict": 1}
    assert stage.theirs("one") == "theirs"
