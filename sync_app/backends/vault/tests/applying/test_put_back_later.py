"""What a write came over in Vault is put back by the next worker after one that died, also where nothing else is done."""

from collections.abc import Callable
from typing import Any

import pytest

from environments_app.authorization.principals import system_principal
from environments_app.models import Alert
from sync_app.applying.batch import Batch
from sync_app.applying.put_back import open_kept_copies
from sync_app.backends.vault.adapter import PooledAdapter
from sync_app.backends.vault.tests.applying.test_strangers_in_vault import recreated, unmarked, versions
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.backends.vault.writes import VaultWrites
from sync_app.errors import OVERWROTE, TargetUnreachable
from sync_app.jobs.leases import database_now
from sync_app.models import KeptCopy, PlanItem, Run
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World

pytestmark = pytest.mark.every_database_weekly

Act = Callable[[VaultWorld, str], None]
Killed = Callable[[Act | None], Run]


@pytest.fixture
def world(vault: VaultWorld) -> World:
    return vault


@pytest.fixture
def killed(stage: Stage, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch) -> Killed:
    """Return what starts a pass whose worker dies once it has written; something is done just before the write."""
    send = PooledAdapter.request

    def work(act: Act | None) -> Run:
        waiting = [act] if act else []

        def request(self: PooledAdapter, method: str, url: str, **options: Any) -> Any:
            if waiting and method == "POST" and "/secret/data/" in url:
                waiting.pop()(vault, stage.path("one"))
            return send(self, method, url, **options)

        def cut_off(*_: Any, **__: Any) -> None:
            raise TargetUnreachable("no answer")

        def die(_batch: Batch) -> None:
            raise SystemExit

        run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
        with monkeypatch.context() as patched:
            patched.setattr(PooledAdapter, "request", request)
            patched.setattr(VaultWrites, "revert", cut_off)
            patched.setattr(Batch, "_save", die)
            with pytest.raises(SystemExit):
                runs_runner.execute(run.pk)
        assert not waiting
        return run

    return work


def carry_on(run: Run, *, attempts: int = 0) -> None:
    Run.objects.filter(pk=run.pk).update(
        lease_until=database_now().replace(year=2000), not_before=None, attempts=attempts
    )
    runs_runner.execute(run.pk)


def item_of(run: Run) -> PlanItem:
    run.refresh_from_db()
    return PlanItem.objects.get(plan=run.plan, name="one")


def keep_one_version(vault: VaultWorld, path: str) -> None:
    vault.kv.update_metadata(path, max_versions=1, mount_point="secret")


def told(stage: Stage) -> str:
    return " ".join(Alert.objects.get(about=stage.target.uuid, kind="sync.failed", open=True).lines)


@pytest.mark.parametrize("before", ["first", "edited"])
def test_the_only_version_is_put_back_by_the_next_attempt(
    stage: Stage, vault: VaultWorld, killed: Killed, before: str
) -> None:
    """Their value is nowhere else: it was kept, sealed, before the write."""
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "first")
    stage.sync()
    keep_one_version(vault, stage.path("one"))
    if before == "edited":
        stage.edit("one", before)
    stage.keep("one", "second")
    run = killed(unmarked)
    assert stage.theirs("one") == "second"
    assert KeptCopy.objects.count() == 1
    carry_on(run)
    assert stage.theirs("one") == before
    assert "second" not in versions(vault, stage.path("one")).values()
    assert (item_of(run).state, item_of(run).error) == ("failed", f"{OVERWROTE}; restored")
    assert f"{OVERWROTE}; restored" in told(stage)
    assert not KeptCopy.objects.exists()


def test_what_is_kept_is_sealed_and_goes_once_the_write_is_settled(
    stage: Stage, vault: VaultWorld, killed: Killed
) -> None:
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "first")
    stage.sync()
    keep_one_version(vault, stage.path("one"))
    stage.edit("one", "edited-by-another")
    stage.keep("one", "second")
    run = killed(None)
    kept = KeptCopy.objects.get()
    assert b"edited-by-another" not in kept.value.envelope
    assert kept.value.can_decrypt()
    carry_on(run)
    assert item_of(run).state == "done"
    assert not KeptCopy.objects.exists()


@pytest.mark.parametrize("column", ["version", "name"])
def test_a_copy_of_another_version_is_put_back_nowhere(
    stage: Stage, vault: VaultWorld, killed: Killed, sql: Callable[..., None], column: str
) -> None:
    """The version decides over what the value may be written; who edits it must not choose that."""
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "first")
    stage.sync()
    keep_one_version(vault, stage.path("one"))
    stage.edit("one", "edited-by-another")
    stage.keep("one", "second")
    killed(None)
    actor = system_principal(request_id="a test")
    assert "edited-by-another" in open_kept_copies(actor, stage.target, ["one"])["one"][1]
    sql(f"UPDATE sync_app_keptcopy SET {column} = %s", "another")
    assert open_kept_copies(actor, stage.target, ["one", "another"]) == {}


def test_nothing_is_kept_where_vault_keeps_the_version_before(stage: Stage, killed: Killed) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    killed(None)
    assert not KeptCopy.objects.exists()


@pytest.mark.parametrize("how", ["changed", "dropped"])
@pytest.mark.parametrize("act", [recreated, unmarked])
def test_it_is_put_back_where_keepers_side_has_moved(
    stage: Stage, vault: VaultWorld, killed: Killed, act: Act, how: str
) -> None:
    """The item is not carried out any more; what it did is taken back all the same."""
    stage.keep("one", "first")
    stage.keep("other", "value")
    stage.sync()
    stage.keep("one", "second")
    run = killed(act)
    assert stage.theirs("one") == "second"
    if how == "changed":
        stage.keep("one", "third")
    else:
        stage.drop("one")
    carry_on(run)
    assert stage.theirs("one") == ("first" if act is unmarked else "theirs")
    assert "second" not in versions(vault, stage.path("one")).values()
    assert item_of(run).error == f"{OVERWROTE}; restored"


@pytest.mark.parametrize("act", [recreated, unmarked])
def test_it_is_put_back_where_the_secret_was_made_anew_in_keeper(
    stage: Stage, vault: VaultWorld, killed: Killed, act: Act
) -> None:
    """Two marks may prove it ours then, so that it is looked at first: that look finds another owner's secret."""
    stage.keep("one", "first")
    stage.sync()
    stage.drop("one")
    stage.keep("one", "second")
    run = killed(act)
    assert item_of(run).act == "update"
    carry_on(run)
    assert stage.theirs("one") == ("first" if act is unmarked else "theirs")
    assert item_of(run).error == f"{OVERWROTE}; restored"


@pytest.mark.parametrize("keeps", [0, 1])
def test_it_is_put_back_by_the_next_run_where_the_first_was_given_up(
    stage: Stage, vault: VaultWorld, killed: Killed, keeps: int
) -> None:
    stage.keep("one", "first")
    stage.sync()
    if keeps:
        keep_one_version(vault, stage.path("one"))
    stage.keep("one", "second")
    run = killed(unmarked)
    carry_on(run, attempts=99)
    assert stage.theirs("one") == "second"
    assert stage.sync(rest=True).counts == {"ownership_lost": 1}
    assert stage.theirs("one") == "first"
    assert f"{OVERWROTE}; restored" in told(stage)
    assert stage.entry("one").reason == f"{OVERWROTE}; restored"
    assert not KeptCopy.objects.exists()


def test_what_came_over_our_own_secret_is_left_as_it_is(
    stage: Stage, vault: VaultWorld, killed: Killed
) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    run = killed(None)
    # To take the mark off now takes it off what Keeper wrote into its own secret.
    unmarked(vault, stage.path("one"))
    stage.keep("one", "third")
    carry_on(run)
    assert (item_of(run).state, stage.theirs("one")) == ("skipped", "second")
    assert stage.sync(rest=True).counts == {"ownership_lost": 1}
    assert (stage.entry("one").state, stage.theirs("one")) == ("ownership_lost", "second")
