"""A version that expired in Vault is told, and not written again by each pass only to expire again."""

import contextlib
import time

import hvac
import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.reconciliation import Presence
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def expired(stage: Stage) -> str:
    """Wait until the newest version has expired; return its name."""
    with stage.world.backend() as backend:
        for _ in range(300):
            seen = backend.get_metadata("one")
            if seen.presence is Presence.DELETED:
                return seen.version
            time.sleep(0.1)
    raise AssertionError("it does not expire")


@pytest.mark.parametrize("where", ["secret", "mount"])
def test_it_is_written_again_only_once_it_changes(cast: Cast, vault: VaultWorld, where: str) -> None:
    mount = "secret"
    if where == "mount":
        mount = f"expiring-{vault.prefix}"
        vault.client.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
        vault.destination |= {"mount": mount}
        settled(vault, mount)
    stage = Stage(cast, vault, conflict="keeper_wins")
    stage.keep("one", "first")
    stage.sync()
    if where == "secret":
        vault.kv.update_metadata(stage.path("one"), delete_version_after="1s", mount_point=mount)
        stage.keep("one", "second")
        stage.sync()
    version = expired(stage)
    for _ in range(3):
        assert stage.sync().counts == {"missing": 1}
    assert expired(stage) == version
    stage.keep("one", "third")
    assert stage.sync().counts == {"update": 1}
    assert expired(stage) != version


def settled(vault: VaultWorld, mount: str) -> None:
    """Have every version of a mount expire, once it was upgraded."""
    for _ in range(100):
        with contextlib.suppress(hvac.exceptions.InvalidRequest):
            vault.kv.configure(delete_version_after="1s", mount_point=mount)
            return
        time.sleep(0.1)
    raise AssertionError("the mount is not ready")
