"""A secret that was ours and does not prove it any more is told, waited for by rotations, and adopted again."""

from typing import Any
from uuid import uuid4

import pytest

from environments_app.models import Alert
from sync_app.applying import service as applying
from sync_app.applying.batch import Batch
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.base import Backend
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.domain.reconciliation import Ownership, Presence
from sync_app.jobs.leases import database_now
from sync_app.models import Run, SyncEntry
from sync_app.models.plan import PlanKind
from sync_app.rotation.execution.consumers import explain_lag
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def unmark(stage: Stage, name: str) -> None:
    with stage.world.backend() as backend:
        backend.unmark(backend.get_metadata(name))


def recreate(stage: Stage, name: str, value: str = "theirs") -> None:
    remove(stage, name)
    stage.world.write(stage.path(name), value)


def remove(stage: Stage, name: str) -> None:
    path = stage.path(name)
    if isinstance(stage.world, AwsWorld):
        stage.world.client.delete_secret(SecretId=path, ForceDeleteWithoutRecovery=True)
    else:
        stage.world.kv.delete_metadata_and_all_versions(path, mount_point="secret")  # type: ignore[attr-defined]


@pytest.mark.parametrize("lose", [unmark, recreate])
def test_it_is_told_and_adopted_again(stage: Stage, lose: Any) -> None:
    stage.keep("app/one", "first")
    stage.keep("app/two", "value")
    stage.sync()
    lose(stage, "app/one")
    secret = stage.keep("app/one", "second")
    plan = stage.sync(rest=True)
    assert plan.counts == {"ownership_lost": 1, "unchanged": 1}
    entry = stage.entry("app/one")
    assert (entry.state, entry.ownership) == ("ownership_lost", "created")
    alert = Alert.objects.get(about=stage.target.uuid, kind="sync.ownership_lost")
    assert alert.open
    assert "app/one" in alert.lines[0]
    # A rotation waits for it: it serves the older value.
    assert str(stage.target.name) in str(explain_lag(secret))
    adoption = stage.plan(kind=PlanKind.ADOPT, options={"names": ["app/one"], "mode": "replace"})
    assert adoption.counts == {"adopt": 1}
    # A look at it alone forgets nothing.
    assert stage.entry("app/one").ownership == "created"
    stage.world_rest()
    stage.apply(adoption)
    assert stage.theirs("app/one") == "second"
    assert stage.entry("app/one").ownership == "adopted"
    assert stage.sync().counts == {"unchanged": 2}
    alert.refresh_from_db()
    assert not alert.open


def test_what_another_keeper_marks_after_the_plan_is_not_adopted(stage: Stage) -> None:
    stage.edit("app/one", "theirs")
    stage.keep("app/one", "ours")
    adoption = stage.plan(kind=PlanKind.ADOPT, options={"names": ["app/one"], "mode": "replace"})
    assert adoption.counts == {"adopt": 1}
    mark = Mark(deployment=uuid4(), target=uuid4(), secret=uuid4())
    with stage.world.backend() as backend:
        backend.mark(backend.get_metadata("app/one"), mark)
    stage.world_rest()
    assert stage.items(stage.apply(adoption))["app/one"] == ("adopt", "skipped")
    assert stage.theirs("app/one") == "theirs"
    with stage.world.backend() as backend:
        assert backend.get_metadata("app/one").mark == mark


@pytest.mark.parametrize("conflict", ["keeper_wins", "target_wins", "ask"])
@pytest.mark.parametrize("direction", ["push", "both"])
def test_it_is_nowhere_silent_and_nowhere_written_over(stage: Stage, direction: str, conflict: str) -> None:
    stage.rules(direction=direction, conflict=conflict, deletion="recoverable", budget_percent=100)
    for name in ("changed", "deleted", "kept"):
        stage.keep(name, "first")
    stage.sync()
    for name in ("changed", "deleted"):
        unmark(stage, name)
    stage.keep("changed", "second")
    stage.drop("deleted")
    counts = stage.sync(rest=True).counts
    assert counts == {"ownership_lost": 2, "unchanged": 1}
    assert [stage.theirs(name) for name in ("changed", "deleted")] == ["first", "first"]


@pytest.mark.parametrize("conflict", ["keeper_wins", "target_wins", "ask"])
@pytest.mark.parametrize("direction", ["push", "both"])
def test_one_that_was_made_again_with_an_equal_value_is_not_ours(
    stage: Stage, direction: str, conflict: str
) -> None:
    stage.rules(direction=direction, conflict=conflict)
    stage.keep("one", "first")
    stage.sync()
    recreate(stage, "one", "first")
    for _ in range(2):
        counts = stage.sync().counts
        assert counts == {"unchanged" if direction == "both" else "ownership_lost": 1}
    secret = stage.keep("one", "second")
    assert stage.sync(rest=True).counts == {"ownership_lost": 1}
    assert stage.entry("one").ownership == Ownership.CREATED
    assert str(stage.target.name) in str(explain_lag(secret))
    assert (stage.theirs("one"), stage.value("one")) == ("first", "second")


@pytest.mark.parametrize("conflict", ["keeper_wins", "target_wins", "ask"])
def test_one_that_was_made_again_with_our_mark_is_not_ours_for_having_been_pulled(
    stage: Stage, conflict: str
) -> None:
    stage.rules(direction="both", conflict=conflict, deletion="recoverable", budget_percent=100)
    stage.keep("one", "first")
    stage.keep("other", "value")
    stage.sync()
    with stage.world.backend() as backend:
        mark = backend.get_metadata("one").mark
        recreate(stage, "one", "theirs")
        assert mark is not None
        backend.mark(backend.get_metadata("one"), mark)
    assert stage.sync().counts == {"pull": 1, "unchanged": 1}
    assert stage.value("one") == "theirs"
    stage.drop("one")
    assert stage.sync(rest=True).counts == {"ownership_lost": 1, "unchanged": 1}
    assert stage.theirs("one") == "theirs"


def test_one_look_that_finds_nothing_forgets_nothing_that_was_ours(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have met another system, behind an address that was switched in the middle of the look."""
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("one", "other"):
        stage.keep(name, "first")
    stage.sync()
    stage.drop("one")
    kind = type(stage.world.backend())
    listed, looked = kind.list_secrets, kind.get_metadata
    with monkeypatch.context() as patched:
        patched.setattr(
            kind, "list_secrets", lambda self: (seen for seen in listed(self) if seen.name != "one")
        )
        patched.setattr(
            kind,
            "get_metadata",
            lambda self, name: (
                SecretMetadata(name=name, presence=Presence.ABSENT) if name == "one" else looked(self, name)
            ),
        )
        assert stage.plan().counts == {"unchanged": 2}
    stage.keep("one", "second")
    assert stage.sync(rest=True).counts == {"unchanged": 1, "update": 1}
    assert stage.theirs("one") == "second"


def test_what_two_looks_find_nowhere_is_forgotten(stage: Stage) -> None:
    for name in ("one", "other"):
        stage.keep(name, "first")
    stage.sync()
    stage.drop("one")
    remove(stage, "one")
    stage.sync()
    assert stage.entry("one").ownership == Ownership.CREATED
    stage.sync()
    assert not SyncEntry.objects.filter(target=stage.target, name="one").exists()


def nothing_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have every look find nothing, as behind a proxy that answers 404 to everything."""
    kind = type(stage.world.backend())

    def absent(_: Backend, name: str) -> SecretMetadata:
        return SecretMetadata(name=name, presence=Presence.ABSENT)

    monkeypatch.setattr(kind, "list_secrets", lambda _: iter(()))
    monkeypatch.setattr(kind, "get_metadata", absent)
    monkeypatch.setattr(kind, "read_value", lambda _, __: None)
    return monkeypatch


@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
def test_a_transient_404_for_everything_forgets_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, conflict: str
) -> None:
    stage.rules(conflict=conflict, deletion="recoverable", budget_percent=100)
    stage.edit("adopted", "same")
    for name in ("adopted", "created", "dropped"):
        stage.keep(name, "same")
    stage.apply(stage.plan(kind=PlanKind.ADOPT, options={"names": ["adopted"], "mode": "only_if_equal"}))
    stage.sync()
    stage.drop("dropped")
    before = known(stage)
    stage.keep("created", "second")
    with monkeypatch.context() as patched:
        nothing_there(stage, patched)
        plan = stage.plan()
    if conflict == "keeper_wins":
        assert plan.counts["create"] == 2
        stage.world_rest()
        assert stage.items(stage.apply(plan))["created"] == ("create", "skipped")
    assert known(stage) == before
    # Back again, what was dropped is deleted, and the rest goes on.
    assert stage.sync(rest=True).counts == {"delete": 1, "unchanged": 1, "update": 1}
    assert stage.entry("adopted").ownership == Ownership.ADOPTED


def known(stage: Stage) -> list[tuple[Any, ...]]:
    columns = ("name", "ownership", "remote_id", "base_keeper", "base_target", "secret_uuid")
    return list(SyncEntry.objects.filter(target=stage.target).order_by("name").values_list(*columns))


@pytest.mark.parametrize("direction", ["push", "both"])
def test_a_name_that_keeper_withdrew_is_simply_a_strangers(stage: Stage, direction: str) -> None:
    """Keeper has no claim to a name that it gave up: nobody is alarmed, and nothing is waited for."""
    stage.rules(direction=direction, deletion="recoverable", budget_percent=100)
    stage.keep("one", "first")
    stage.keep("other", "value")
    stage.sync()
    stage.drop("one")
    assert stage.sync().counts == {"delete": 1, "unchanged": 1}
    assert stage.sync().counts == {"unchanged": 2}
    recreate(stage, "one")
    expected = {"unmanaged": 1} if direction == "push" else {"pull": 1}
    assert stage.sync().counts == expected | {"unchanged": 1}
    assert not Alert.objects.filter(about=stage.target.uuid, kind="sync.ownership_lost").exists()
    again = stage.sync().counts
    assert again == (expected | {"unchanged": 1} if direction == "push" else {"unchanged": 2})
    assert stage.theirs("one") == "theirs"


def test_a_new_secret_under_a_name_that_a_stranger_took_after_a_withdrawal_is_not_pushed_over_it(
    stage: Stage,
) -> None:
    stage.rules(deletion="recoverable", budget_percent=100, conflict="keeper_wins")
    stage.keep("one", "first")
    stage.keep("other", "value")
    stage.sync()
    stage.drop("one")
    stage.sync()
    recreate(stage, "one")
    stage.keep("one", "anew")
    for _ in range(2):
        assert stage.sync(rest=True).counts == {"unmanaged": 1, "unchanged": 1}
    assert stage.theirs("one") == "theirs"
    assert stage.entry("one").ownership == Ownership.NONE


@pytest.mark.parametrize("goes_on", [True, False], ids=["taken up", "given up"])
def test_a_create_after_a_transient_404_that_died_forgets_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    """The entry was claimed as about to be created; what it knew is there again, whoever goes on."""
    stage.rules(conflict="keeper_wins")
    stage.edit("adopted", "same")
    for name in ("adopted", "created"):
        stage.keep(name, "same")
    stage.apply(stage.plan(kind=PlanKind.ADOPT, options={"names": ["adopted"], "mode": "only_if_equal"}))
    stage.sync()
    before = known(stage)
    for name in ("adopted", "created"):
        stage.keep(name, "second")
    stage.world_rest()
    with monkeypatch.context() as patched:
        nothing_there(stage, patched)
        plan = stage.plan()
    assert plan.counts == {"create": 2}
    run = applying.request_apply(actor=stage.alice, plan=plan)

    def die(_: Batch) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "dispatch", die)
        with pytest.raises(SystemExit):
            runs_runner.execute(run.pk)
    Run.objects.filter(pk=run.pk).update(
        lease_until=database_now().replace(year=2000), attempts=0 if goes_on else 99
    )
    runs_runner.execute(run.pk)
    if goes_on:
        assert known(stage) == before
    assert stage.sync(rest=True).counts == {"update": 2}
    assert [stage.theirs(name) for name in ("adopted", "created")] == ["second", "second"]
    assert [row[1] for row in known(stage)] == ["adopted", "created"]
