"""A target that shows what was there before an answered write is not believed: nothing goes back.

A node that lags, or a cache in front, answers looks from before a write of seconds ago, long after Keeper's
own look found the write.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from environments_app.tests.cast import Cast
from sync_app.backends.registry import backend_of
from sync_app.domain.delivery_state import PASSES_UNTIL_ALERT, DeliveryState
from sync_app.models import SyncEntry
from sync_app.models.plan import Act
from sync_app.targets.credentials import open_backend
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World

NAME = "app/one"
# Secrets Manager names versions by no order, and Forgejo secrets by their creation.
TELLING = ["vault", "ssm", "gitlab", "kubernetes", "github"]
pytestmark = [pytest.mark.every_database_weekly, pytest.mark.parametrize("world", TELLING, indirect=True)]


Late = Callable[[], AbstractContextManager[None]]


def as_now(stage: Stage) -> Late:
    """Note how the target looks now; in the returned context it shows that, whatever is written."""
    with open_backend(actor=stage.alice, target=stage.fresh()) as backend:
        listed, seen = list(backend.list_secrets()), backend.get_metadata(NAME)
        value = backend.read_value(NAME) if backend.capabilities.reads_values else None
    kind: Any = backend_of(stage.target.backend)

    @contextmanager
    def late() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kind, "list_secrets", lambda _self: iter(listed))
            patched.setattr(kind, "get_metadata", lambda _self, _name: seen)
            patched.setattr(kind, "batch_get_metadata", lambda _self, names: dict.fromkeys(names, seen))
            patched.setattr(kind, "read_value", lambda _self, _name: value)
            yield

    return late


@pytest.fixture
def stage(cast: Cast, world: World) -> Stage:
    if backend_of(world.kind).capabilities.reads_values:
        return Stage(cast, world, direction="both", conflict="target_wins")
    return Stage(cast, world, conflict="keeper_wins")


def late_after_a_write(stage: Stage) -> Late:
    stage.keep(NAME, "the old value")
    stage.sync()
    stage.world.wait(2)
    late = as_now(stage)
    stage.keep(NAME, "the new value")
    stage.sync(rest=True)
    assert stage.entry(NAME).state == DeliveryState.IN_SYNC
    return late


def test_a_late_look_pulls_nothing_back_and_is_alerted_after_some_passes(stage: Stage) -> None:
    with late_after_a_write(stage)():
        for passed in range(PASSES_UNTIL_ALERT):
            assert stage.items(stage.sync())[NAME][0] == Act.UNKNOWN
            entry = stage.entry(NAME)
            assert (entry.state, entry.undelivered) == (DeliveryState.UNKNOWN, passed + 1)
        assert stage.value(NAME) == "the new value"
        # Passes that follow each other at once learn no more than one.
        assert stage.items(stage.plan())[NAME][0] == Act.UNKNOWN
        SyncEntry.objects.update(synced_at=timezone.now() - timedelta(minutes=11))
        # Now what the target shows is believed.
        assert stage.items(stage.plan())[NAME][0] in {Act.PULL, Act.UPDATE}


def test_a_late_look_is_over_once_the_target_shows_the_write(stage: Stage) -> None:
    with late_after_a_write(stage)():
        assert stage.items(stage.plan())[NAME][0] == Act.UNKNOWN
    stage.sync()
    entry = stage.entry(NAME)
    assert (entry.state, entry.undelivered) == (DeliveryState.IN_SYNC, 0)


def test_what_another_client_writes_is_seen_at_once(stage: Stage) -> None:
    stage.keep(NAME, "the old value")
    stage.sync()
    stage.keep(NAME, "the new value")
    stage.sync(rest=True)
    stage.world.wait(2)
    stage.edit(NAME, "theirs")
    assert stage.items(stage.plan())[NAME][0] in {Act.PULL, Act.UPDATE}
