"""What is kept of a version before it is written over: that very version alone, sealed, and only if it opens."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.applying import put_back
from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretValue
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.jobs.worker_pool import no_heartbeat
from sync_app.models import KeptCopy
from sync_app.tests.applying.stage import Stage


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> Stage:
    made = Stage(cast, vault)
    made.keep("one", "ours")
    made.sync()
    return made


def keep(stage: Stage, backend: Backend, version: str) -> list[KeptCopy]:
    """Keep a version of the secret, and return what is kept."""
    plan = SimpleNamespace(target=stage.fresh())
    tools: Any = SimpleNamespace(plan=plan, backend=backend, heartbeat=no_heartbeat, lease=None)
    put_back.keep_copies(tools, {"one": version})
    return list(KeptCopy.objects.filter(target=stage.target))


def test_only_the_version_that_is_written_over_is_kept(stage: Stage) -> None:
    """Another client writes between the plan and the look that keeps: its value is not the one that goes."""
    with stage.world.backend() as backend:
        version = backend.get_metadata("one").version
        read = type(backend).read_value

        def changed_meanwhile(self: Backend, name: str) -> SecretValue | None:
            stage.edit("one", "theirs")
            return read(self, name)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(type(backend), "read_value", changed_meanwhile)
            assert keep(stage, backend, version) == []
        now = backend.get_metadata("one").version
        (row,) = keep(stage, backend, now)
    assert (row.name, row.version) == ("one", now)
    found = put_back.open_kept_copies(stage.alice, stage.fresh(), ["one"])
    assert found["one"][0] == now
    assert "theirs" in found["one"][1]


def test_what_was_kept_for_another_name_or_changed_does_not_open(
    stage: Stage, sql: Callable[..., None]
) -> None:
    with stage.world.backend() as backend:
        keep(stage, backend, backend.get_metadata("one").version)
    sql("UPDATE sync_app_keptcopy SET version = '9@2026-01-01T00:00:00Z'")
    assert put_back.open_kept_copies(stage.alice, stage.fresh(), ["one"]) == {}
    put_back.forget_copies(stage.fresh(), ["other"])
    assert KeptCopy.objects.count() == 1
    put_back.forget_copies(stage.fresh(), ["one"])
    assert not KeptCopy.objects.exists()
