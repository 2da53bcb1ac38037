"""A worker whose clock is an hour wrong, either way: the database's and the target's times are what counts."""

from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from botocore.exceptions import ClientError
from django.utils import timezone

from environments_app.tests.cast import Cast
from sync_app.backends.aws.errors import translate_error
from sync_app.backends.vault import connection, content
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import CredentialsRejected, TargetUnreachable
from sync_app.jobs.leases import LEASE, LONGEST_WAIT, claim, database_now
from sync_app.models import PlanItem, Run, SyncEntry, Target
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule
from sync_app.state.contests import AT_ONCE
from sync_app.state.deletions import load_budget
from sync_app.targets import service as targets
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database
IN_VAULT = pytest.mark.parametrize("world", ["vault"], indirect=True)

right_now = timezone.now
A_MINUTE = timedelta(minutes=1)


@pytest.fixture(params=[-1, 1], ids=["an hour behind", "an hour ahead"])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """Set the worker's clock an hour off; those of the database and of the targets stay right."""
    off = timedelta(hours=request.param)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + off

    monkeypatch.setattr(timezone, "now", lambda: right_now() + off)
    for module in (content, connection):
        monkeypatch.setattr(module, "datetime", Clock, raising=False)
    return off


def is_now(moment: datetime | None) -> bool:
    return moment is not None and abs(moment - database_now()) < A_MINUTE


@pytest.mark.usefixtures("wrong")
def test_passes_do_what_they_do_by_a_right_clock(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("changed", "dropped", "kept"):
        stage.keep(name, "first")
    assert stage.sync().counts == {"create": 3}
    stage.keep("changed", "second")
    stage.drop("dropped")
    plan = stage.sync(rest=True)
    assert plan.counts == {"delete": 1, "unchanged": 1, "update": 1}
    assert stage.sync().counts == {"unchanged": 3}
    assert is_now(SyncEntry.objects.get(name="changed").synced_at)
    assert all(map(is_now, PlanItem.objects.filter(plan=plan).values_list("finished_at", flat=True)))
    assert load_budget(stage.target).withdrawn == 1


@pytest.mark.usefixtures("wrong")
def test_what_is_deleted_in_vault_is_deleted_and_what_will_be_is_not(cast: Cast, vault: VaultWorld) -> None:
    stage = Stage(cast, vault)
    for name in ("deleted", "expiring"):
        stage.keep(name, "value")
    path = stage.path("expiring")
    vault.kv.update_metadata(path, delete_version_after="30m", mount_point="secret")
    stage.sync()
    vault.kv.update_metadata(path, delete_version_after="30m", mount_point="secret")
    stage.keep("expiring", "second")
    stage.sync()
    vault.remove(stage.path("deleted"))
    with vault.backend() as backend:
        seen = [backend.get_metadata(name).presence for name in ("deleted", "expiring")]
        listed = {each.name: each.presence for each in backend.list_secrets()}
    assert seen == ["deleted", "present"]
    assert listed == {"deleted": "deleted", "expiring": "present"}
    assert stage.sync().counts == {"missing": 1, "unchanged": 1}


@IN_VAULT
@pytest.mark.usefixtures("wrong")
def test_a_fight_is_damped_by_the_databases_time(stage: Stage) -> None:
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "ours")
    stage.sync()
    for number in range(AT_ONCE):
        stage.edit("one", f"theirs {number}")
        assert stage.sync(rest=True).counts == {"update": 1}
    stage.edit("one", "theirs")
    assert stage.sync(rest=True).counts == {"drifted": 1}
    due = database_now() + timedelta(minutes=5)
    times = [due - A_MINUTE, due]
    assert any(f"waits until {each:%H:%M} UTC" in stage.entry("one").reason for each in times)


@IN_VAULT
@pytest.mark.usefixtures("wrong")
def test_a_target_is_due_at_once_and_its_lease_holds(stage: Stage) -> None:
    stage.keep("one", "value")
    targets.change(actor=stage.alice, target=stage.fresh(), automatic=True, interval_seconds=86_400)
    assert is_now(stage.fresh().due_at)
    (run,) = schedule.queue_due()
    lease = claim(run, owner="a worker")
    assert lease is not None
    until = Run.objects.get(pk=run).lease_until
    assert until is not None
    assert is_now(until - LEASE)
    assert schedule.queue_due() == []
    assert claim(run, owner="another") is None
    lease.renew()
    lease.requeue(not_before=None)
    done = runs_runner.execute(run)
    assert done is not None
    assert (done.state, stage.theirs("one")) == ("done", "value")
    due_at = Target.objects.get().due_at
    assert due_at is not None
    assert is_now(due_at - timedelta(days=1))


@IN_VAULT
@pytest.mark.usefixtures("wrong")
def test_the_next_attempt_waits_by_the_databases_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.keep("one", "value")

    def unreachable(*_given: Any, **_options: Any) -> None:
        raise TargetUnreachable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr("sync_app.planning.service.discover", unreachable)
        run = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert run is not None
    assert run.not_before is not None
    assert run.state == "queued"
    assert database_now() < run.not_before < database_now() + LONGEST_WAIT
    assert is_now(run.not_before)
    assert is_now(stage.fresh().last_failure_at)


def test_aws_tells_a_wrong_clock_by_the_signature() -> None:
    code = "InvalidSignatureException"
    told = translate_error(
        "ListSecrets", ClientError({"Error": {"Code": code, "Message": ""}}, "ListSecrets")
    )
    assert isinstance(told, CredentialsRejected)
    assert "the clock of the machine" in str(told)
