"""Keeper's own write whose outcome nobody noted is told from a stranger's, also once the secret has changed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.applying import service as applying
from sync_app.applying.batch import Batch
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretMetadata, SecretValue, version_number
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import TargetUnreachable
from sync_app.jobs import queue as jobs_queue
from sync_app.jobs.leases import database_now
from sync_app.models import PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.models.run import RunKind, Trigger
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World

pytestmark = pytest.mark.every_database_weekly

Killed = Callable[..., Run]


@pytest.fixture
def killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Killed:
    """Return what starts a run whose worker dies at the worst moment: it has written, and noted nothing."""

    def work(run: Run | None = None, *, at: str = "_save") -> Run:
        stage.world_rest()
        run = run or runs_runner.request_sync(actor=stage.alice, target=stage.fresh())

        def die(_batch: Batch) -> None:
            raise SystemExit

        with monkeypatch.context() as patched:
            patched.setattr(Batch, at, die)
            with pytest.raises(SystemExit):
                runs_runner.execute(run.pk)
        return run

    return work


def end(run: Run, *, attempts: int = 0) -> str:
    """Have another worker take up what the dead one left; return how the run ended."""
    Run.objects.filter(pk=run.pk).update(lease_until=database_now().replace(year=2000), attempts=attempts)
    done = runs_runner.execute(run.pk)
    assert done is not None
    return str(done.state)


def look_for_drift(stage: Stage) -> None:
    """Look by metadata alone."""
    run = jobs_queue.enqueue(
        actor=stage.alice, target=stage.fresh(), kind=RunKind.CHECK, trigger=Trigger.PERSON
    )
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert done.state == "done"


def carries_on(stage: Stage) -> bool:
    """Say whether the next plan goes on from our own write, and is carried out once the system takes it."""
    planned = stage.plan().counts
    return planned == {"update": 1} and stage.items(stage.sync(rest=True)) == {"one": ("update", "done")}


def is_in_step(stage: Stage, value: str) -> bool:
    """Say whether the target holds a value, the next pass finds nothing to do, and nothing was made twice."""
    return stage.theirs("one") == value and stage.sync(rest=True).counts == {"unchanged": 1}


@pytest.mark.parametrize("attempts", [0, 99], ids=["taken up", "given up"])
@pytest.mark.parametrize("existed", [True, False], ids=["update", "create"])
def test_a_change_after_a_death_is_written_over_our_own_write(
    stage: Stage, killed: Killed, existed: bool, attempts: int
) -> None:
    if existed:
        stage.keep("one", "first")
        stage.sync()
    stage.keep("one", "second")
    run = killed()
    assert stage.theirs("one") == "second"
    stage.keep("one", "third")
    # Nothing was delivered by it: what it planned is not what Keeper holds any more.
    assert end(run, attempts=attempts) == "failed"
    assert carries_on(stage)
    assert is_in_step(stage, "third")


def test_a_change_before_a_death_is_known_takes_back_nothing_in_keeper(stage: Stage, killed: Killed) -> None:
    stage.rules(direction="both", conflict="target_wins")
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    run = killed()
    stage.keep("one", "third")
    end(run)
    assert carries_on(stage)
    assert stage.value("one") == "third"
    assert is_in_step(stage, "third")


@pytest.mark.parametrize("existed", [True, False], ids=["update", "create"])
def test_a_deletion_after_a_death_is_followed(stage: Stage, killed: Killed, existed: bool) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.keep("other", "value")
    if existed:
        stage.keep("one", "first")
        stage.sync()
    stage.keep("one", "second")
    run = killed()
    stage.drop("one")
    end(run)
    assert stage.items(stage.sync(rest=True)) == {"one": ("delete", "done")}


def test_a_choice_is_asked_for_once(stage: Stage, killed: Killed) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    stage.edit("one", "theirs")
    item = PlanItem.objects.get(plan=stage.plan(), act="conflict")
    run = killed(applying.request_resolution(actor=stage.alice, item=item, choice="keep_ours"))
    assert stage.theirs("one") == "second"
    stage.keep("one", "third")
    end(run)
    assert carries_on(stage)
    assert is_in_step(stage, "third")


@pytest.mark.parametrize("at", ["dispatch", "_save"], ids=["nothing was written", "it was written"])
@pytest.mark.parametrize("existed", [True, False], ids=["update", "create"])
def test_what_a_stranger_wrote_after_a_death_stays_the_strangers(
    stage: Stage, killed: Killed, existed: bool, at: str
) -> None:
    """In Vault the stranger's version has the very number that Keeper's would have had."""
    if existed:
        stage.keep("one", "first")
        stage.sync()
    stage.keep("one", "second")
    run = killed(at=at)
    stage.edit("one", "theirs")
    stage.keep("one", "third")
    end(run)
    # What was never written carries no mark of ours, and is not even asked about.
    is_marked = existed or at == "_save"
    assert stage.sync(rest=True).counts == ({"conflict": 1} if is_marked else {"ownership_lost": 1})
    assert stage.theirs("one") == "theirs"
    assert stage.value("one") == "third"


@pytest.mark.parametrize("world", ["vault"], indirect=True)
def test_a_write_that_an_earlier_keeper_planned_by_number_alone_is_kept(stage: Stage, killed: Killed) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    run = killed()
    item = PlanItem.objects.get(plan__target=stage.target, act="update")
    item.target_version = str(version_number(item.target_version))
    item.save()
    entry = stage.entry("one")
    entry.base_target = str(version_number(entry.base_target))
    entry.intended_target = str(version_number(entry.intended_target))
    entry.save()
    assert end(run) == "done"
    item.refresh_from_db()
    assert (item.state, item.error) == ("done", "")
    assert is_in_step(stage, "second")


def test_what_a_stranger_puts_back_stays_the_strangers(stage: Stage) -> None:
    for value in ("first", "second"):
        stage.keep("one", value)
        stage.sync(rest=True)
    if isinstance(stage.world, AwsWorld):
        with stage.world.backend() as backend:
            now = backend.get_metadata("one").version
        stages = stage.world.client.describe_secret(SecretId=stage.path("one"))["VersionIdsToStages"]
        (before,) = [version for version, labels in stages.items() if "AWSPREVIOUS" in labels]
        stage.world.client.update_secret_version_stage(
            SecretId=stage.path("one"),
            VersionStage="AWSCURRENT",
            MoveToVersionId=before,
            RemoveFromVersionId=now,
        )
    else:
        stage.edit("one", "first")
    stage.keep("one", "third")
    assert stage.sync(rest=True).counts == {"conflict": 1}
    assert stage.theirs("one") == "first"


def test_an_intent_that_keeper_did_not_note_proves_nothing(
    stage: Stage, killed: Killed, sql: Callable[..., None]
) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.edit("one", "theirs")
    with stage.world.backend() as backend:
        version = backend.get_metadata("one").version
    stage.keep("one", "theirs")
    keeper = stage.secret("one").versions.get(number=2).uuid.hex
    stage.keep("one", "third")
    sql("UPDATE sync_app_syncentry SET intended_keeper = %s, intended_target = %s", keeper, version)
    assert stage.sync(rest=True).counts == {"unmanaged": 1}
    assert stage.theirs("one") == "theirs"


def test_what_came_too_late_to_be_written_is_no_question(stage: Stage) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    stage.world_rest()
    plan = stage.plan()
    stage.edit("one", "theirs")
    assert stage.items(stage.apply(plan)) == {"one": ("update", "skipped")}
    look_for_drift(stage)
    assert stage.entry("one").state == "conflict"
    assert stage.theirs("one") == "theirs"


def test_a_look_for_drift_does_not_call_it_a_conflict(stage: Stage, killed: Killed) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    run = killed()
    stage.keep("one", "third")
    end(run)
    look_for_drift(stage)
    assert stage.entry("one").state == "pending"
    assert carries_on(stage)


@pytest.mark.parametrize("world", ["aws"], indirect=True)
def test_aws_is_believed_by_its_version_and_not_by_its_list(
    aws: AwsWorld, killed: Killed, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists may be minutes old, and show what was there before the write."""
    stage.keep("one", "first")
    stage.sync()
    with aws.backend() as backend:
        before = backend.get_metadata("one").version
    stage.keep("one", "second")
    run = killed()
    stage.keep("one", "third")
    end(run)
    kind = type(aws.backend())
    listed = kind.list_secrets

    def lagging(self: Backend) -> Iterator[SecretMetadata]:
        return (replace(seen, version=before) for seen in listed(self))

    aws.plan.clear()
    with monkeypatch.context() as patched:
        patched.setattr(kind, "list_secrets", lagging)
        # The version that was made when nobody looked counts as made by now.
        assert stage.items(stage.sync(rest=True)) == {"one": ("update", "skipped")}
        assert stage.entry("one").state == "pending"
    assert carries_on(stage)
    assert not aws.plan.asked["GetSecretValue"]
    assert is_in_step(stage, "third")


def test_what_was_filled_in_is_known_by_the_version_alone(stage: Stage, killed: Killed, world: World) -> None:
    """Keeper stores no fingerprint of it, so that in Vault a person is asked."""
    stage.keep("host", "first")

    def refer(value: str) -> Any:
        return write.put(
            actor=stage.alice,
            environment=stage.environment,
            name="one",
            value=value,
            secret_type=SecretType.TEXT,
            uses_references=True,
        )

    refer("1 ${development/host}")
    stage.sync()
    refer("2 ${development/host}")
    run = killed()
    refer("3 ${development/host}")
    end(run)
    if isinstance(world, AwsWorld):
        assert stage.plan().counts == {"unchanged": 1, "update": 1}
        stage.sync(rest=True)
        assert stage.theirs("one") == "3 first"
    else:
        assert stage.sync().counts == {"unchanged": 1, "conflict": 1}
        assert stage.theirs("one") == "2 first"


@pytest.mark.parametrize("world", ["vault"], indirect=True)
@pytest.mark.parametrize("failure", ["no answer", "an older answer"])
def test_what_could_not_be_asked_is_not_taken_for_a_strangers(
    stage: Stage, killed: Killed, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    """The value is read again to compare, and its older version would be pulled over the newer one."""
    stage.rules(direction="both", conflict="target_wins")
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    run = killed()
    stage.keep("one", "third")
    end(run)
    read, left = VaultKv2.read_value, [failure]

    def once(self: VaultKv2, name: str) -> SecretValue | None:
        copy = read(self, name)
        if not left:
            return copy
        if left.pop() == "no answer":
            raise TargetUnreachable("Vault gave no answer")
        assert copy is not None
        return replace(copy, metadata=replace(copy.metadata, version="1"))

    with monkeypatch.context() as patched:
        patched.setattr(VaultKv2, "read_value", once)
        assert stage.items(stage.sync(rest=True)) == {"one": ("refused", "skipped")}
    assert stage.value("one") == "third"
    assert carries_on(stage)
    assert is_in_step(stage, "third")


@pytest.mark.parametrize("order", ["target_wins", "ask"])
def test_a_write_that_arrives_after_the_next_one_was_planned_is_our_own(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """It got no answer in time, and the target carries it out just before the newer value comes."""
    stage.rules(direction="both", conflict=order)
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    stage.world_rest()
    kind = type(stage.world.backend())
    update, late = kind.update, []

    def lost(self: Backend, seen: SecretMetadata, value: str, **options: Any) -> SecretMetadata:
        late.append(lambda: update(stage.world.backend(), seen, value, **options))
        raise TargetUnreachable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(kind, "update", lost)
        run = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert run is not None
    stage.keep("one", "third")
    Run.objects.filter(pk=run.pk).update(not_before=None)
    runs_runner.execute(run.pk)

    def overtaken(self: Backend, seen: SecretMetadata, value: str, **options: Any) -> SecretMetadata:
        if late:
            late.pop()()
        return update(self, seen, value, **options)

    with monkeypatch.context() as patched:
        patched.setattr(kind, "update", overtaken)
        assert stage.items(stage.sync(rest=True)) == {"one": ("update", "skipped")}
    assert stage.theirs("one") == "second"
    assert carries_on(stage)
    assert stage.value("one") == "third"
    assert is_in_step(stage, "third")


@pytest.mark.parametrize("world", ["vault"], indirect=True)
def test_what_keeper_never_writes_is_a_strangers(vault: VaultWorld, stage: Stage, killed: Killed) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    run = killed(at="dispatch")
    vault.kv.create_or_update_secret(stage.path("one"), {"user": "theirs"}, mount_point="secret")
    stage.drop("one")
    end(run)
    assert stage.sync(rest=True).counts == {"conflict": 1}


@pytest.mark.parametrize("at", ["dispatch", "_save"], ids=["nothing was written", "it was written"])
def test_a_replacement_that_nobody_noted_is_carried_on(stage: Stage, killed: Killed, at: str) -> None:
    stage.edit("one", "theirs")
    stage.keep("one", "ours")
    options: dict[str, Any] = {"names": ["one"], "mode": "replace"}
    plan = stage.plan(kind=PlanKind.ADOPT, options=options)
    run = killed(applying.request_apply(actor=stage.alice, plan=plan), at=at)
    assert stage.theirs("one") == ("theirs" if at == "dispatch" else "ours")
    assert end(run) == "done"
    assert stage.items(plan) == {"one": ("adopt", "done")}
    assert is_in_step(stage, "ours")


@pytest.mark.parametrize("existed", [True, False], ids=["update", "create"])
def test_taking_leave_withdraws_what_nobody_noted(stage: Stage, killed: Killed, existed: bool) -> None:
    if existed:
        stage.keep("one", "first")
        stage.sync()
    stage.keep("one", "second")
    run = killed()
    stage.keep("one", "third")
    end(run)
    plan = stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "withdraw"})
    assert stage.items(stage.apply(plan)) == {"one": ("delete", "done")}
