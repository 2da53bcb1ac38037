"""Two workers on the same create in Vault after a lease was lost: neither takes the mark off what the other wrote."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.applying.batch import Batch
from sync_app.applying.item_actions import ItemJob, execute
from sync_app.backends.observations import MARK_KEYS, Mark, SecretMetadata
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.backends.vault.writes import VaultWrites
from sync_app.domain.reconciliation import Presence
from sync_app.errors import CreateConflict
from sync_app.jobs.leases import database_now
from sync_app.models import Run
from sync_app.models.plan import Act
from sync_app.runs import runner as runs_runner
from sync_app.state.ownership import mark_for
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def just_before_the_write(monkeypatch: pytest.MonkeyPatch, happens: Callable[[str], object]) -> None:
    """Have something happen once, when a worker has put its mark and is about to write."""
    plain, left = VaultWrites.write, [happens]

    def write(self: VaultWrites, path: str, content: Mapping[str, Any], *, cas: int) -> Mapping[str, Any]:
        if left:
            left.pop()(path)
        return plain(self, path, content, cas=cas)

    monkeypatch.setattr(VaultWrites, "write", write)


def job_of(stage: Stage, value: str) -> ItemJob:
    mark: Mark = mark_for(stage.target, stage.secret("one").uuid)
    seen = SecretMetadata(name="one", presence=Presence.ABSENT)
    return ItemJob(
        act=Act.CREATE, expected=seen, mark=mark, marks=frozenset({mark}), token="0" * 64, value=value
    )


@pytest.mark.parametrize("value", ["first", "second"])
def test_the_loser_leaves_the_winners_mark(
    cast: Cast, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    stage = Stage(cast, vault)
    stage.keep("one", "first")
    winner = job_of(stage, value)
    just_before_the_write(monkeypatch, lambda _: execute(vault.backend(), winner))
    if value == "first":
        # The very same item: it is done, whoever of the two did it.
        assert execute(vault.backend(), job_of(stage, "first")).metadata.mark == winner.mark
    else:
        with pytest.raises(CreateConflict):
            execute(vault.backend(), job_of(stage, "first"))
    assert stage.theirs("one") == value
    assert set(vault.labels(stage.path("one"))) == set(MARK_KEYS)


@pytest.mark.parametrize("holds", [True, False], ids=["holds the run", "was overtaken"])
def test_only_who_holds_the_run_takes_its_mark_off(
    cast: Cast, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    stage = Stage(cast, vault)
    stage.keep("one", "first")
    just_before_the_write(monkeypatch, lambda _: vault.write(stage.path("one"), "another's"))
    save = Batch._save

    def saved(self: Batch) -> None:
        if not holds:
            Run.objects.filter(target=stage.target, active=True).update(epoch=99)
        save(self)

    monkeypatch.setattr(Batch, "_save", saved)
    run: Any = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert (run.state == "failed") is holds
    assert stage.theirs("one") == "another's"
    assert (vault.labels(stage.path("one")) == {}) is holds
    if holds:
        assert stage.entry("one").ownership == "none"
        assert stage.sync().counts == {"unmanaged": 1}


def test_what_a_stranger_writes_under_the_mark_of_a_dead_worker_stays_the_strangers(
    cast: Cast, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between its mark and its write, and somebody else writes first."""
    stage = Stage(cast, vault)
    stage.keep("one", "ours")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())

    def die(_path: str) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        just_before_the_write(patched, die)
        with pytest.raises(SystemExit):
            runs_runner.execute(run.pk)
    assert set(vault.labels(stage.path("one"))) == set(MARK_KEYS)
    vault.write(stage.path("one"), "another's")
    Run.objects.filter(pk=run.pk).update(lease_until=database_now().replace(year=2000))
    done: Any = runs_runner.execute(run.pk)
    assert (done.state, stage.theirs("one")) == ("failed", "another's")
    assert vault.labels(stage.path("one")) == {}
    assert stage.entry("one").ownership == "none"
    assert stage.sync().counts == {"unmanaged": 1}
