"""What looks like a deletion in Keeper and is none, or what nobody could put back: nothing of it is deleted."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secrets_app.models import Secret, SecretVersion
from secrets_app.services import lifecycle
from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretMetadata
from sync_app.domain.reconciliation import Reason
from sync_app.models import Plan, PlanItem, SyncEntry
from sync_app.state.deletions import load_budget
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly

Sql = Callable[..., None]


@pytest.fixture
def deleting(stage: Stage) -> Stage:
    """Return a target that follows deletions, with two secrets."""
    stage.rules(deletion="recoverable", budget_number=10, budget_percent=100)
    for name in ("app/one", "app/two"):
        stage.keep(name, "first")
    stage.sync()
    return stage


@pytest.mark.parametrize("how", ["row gone", "made to look deleted", "given another name"])
def test_what_keeper_lost_is_not_deleted_there(deleting: Stage, sql: Sql, how: str) -> None:
    """Keeper's row went without Keeper: a careless clean-up, a restore of one table, an attack."""
    secret = deleting.secret("app/one")
    if how == "row gone":
        sql("DELETE FROM secrets_app_secretversion WHERE secret_id = %s", secret.pk)
        sql("DELETE FROM secrets_app_secret WHERE id = %s", secret.pk)
    elif how == "made to look deleted":
        sql("UPDATE secrets_app_secret SET live = NULL WHERE id = %s", secret.pk)
    else:
        sql("UPDATE secrets_app_secret SET name = 'app/other' WHERE id = %s", secret.pk)
    plan = deleting.sync()
    assert deleting.items(plan)["app/one"] == ("refused", "skipped")
    assert deleting.theirs("app/one") == "first"


def test_what_keeper_loses_after_the_plan_is_not_deleted_there(deleting: Stage, sql: Sql) -> None:
    deleting.drop("app/one")
    plan = deleting.plan()
    sql("UPDATE secrets_app_secret SET name = 'app/other' WHERE name = 'app/one'")
    deleting.apply(plan)
    assert deleting.items(plan)["app/one"] == ("delete", "failed")
    assert deleting.theirs("app/one") == "first"


def test_nothing_is_deleted_there_once_keeper_was_emptied_after_the_plan(deleting: Stage) -> None:
    deleting.drop("app/one")
    plan = deleting.plan()
    assert plan.counts == {"delete": 1, "unchanged": 1}
    deleting.drop("app/two")
    deleting.apply(plan)
    assert deleting.items(plan)["app/one"] == ("delete", "skipped")
    assert PlanItem.objects.get(plan=plan, name="app/one").error == Reason.EMPTY
    assert deleting.theirs("app/one") == "first"


def test_what_was_purged_or_renamed_in_keeper_follows(deleting: Stage) -> None:
    deleting.drop("app/one")
    gone = Secret.objects.select_related("environment").get(name="app/one")
    lifecycle.purge(actor=deleting.alice, secret=gone)
    lifecycle.rename(actor=deleting.alice, secret=deleting.secret("app/two"), name="app/three")
    assert not SecretVersion.objects.filter(secret__name="app/one").exists()
    assert deleting.sync().counts == {"create": 1, "delete": 2}


def test_what_is_not_listed_yet_stays_ours(deleting: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's lists may be minutes old: what Keeper wrote and deleted meanwhile is in none of them."""
    deleting.drop("app/one")
    backend = type(deleting.world.backend())
    listed = backend.list_secrets

    def lagging(self: Backend) -> Iterator[SecretMetadata]:
        return (seen for seen in listed(self) if seen.name != "app/one")

    with monkeypatch.context() as patched:
        patched.setattr(backend, "list_secrets", lagging)
        assert deleting.plan().counts == {"delete": 1, "unchanged": 1}
    assert deleting.sync().counts == {"delete": 1, "unchanged": 1}


def test_what_was_withdrawn_already_widens_no_budget(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_number=10, budget_percent=50)
    names = [f"app/{number}" for number in range(4)]
    for name in names:
        stage.keep(name, "value")
    stage.sync()
    for name in names[:2]:
        stage.drop(name)
    assert stage.sync().counts == {"delete": 2, "unchanged": 2}
    for name in names[2:]:
        stage.drop(name)
    stage.keep("last", "value")
    assert stage.sync().counts == {"create": 1, "refused": 2, "unchanged": 2}
    assert stage.theirs("app/2") == "value"


def test_a_slow_loop_is_stopped_by_the_default_budget(stage: Stage) -> None:
    """One deletion after the other, each followed by a pass: `terraform destroy`, or a script's mistake."""
    stage.rules(deletion="recoverable")
    names = [f"app/{number:02}" for number in range(30)]
    for name in names:
        stage.keep(name, "value")
    stage.sync()
    for name in names[:6]:
        stage.drop(name)
        last = stage.sync()
    assert last.counts == {"refused": 3, "unchanged": 27}
    reasons = set(PlanItem.objects.filter(plan=last, act="refused").values_list("reason", flat=True))
    (reason,) = reasons
    assert reason.endswith("3 to delete, 3 deleted in the last 24 hours, and at most 3 of 30 (10, or 10 %)")
    assert [stage.theirs(name) for name in names[3:6]] == ["value"] * 3
    # A person sees the list, and has it carried out.
    plan = stage.plan(options={"beyond_budget": True})
    assert plan.counts == {"delete": 3, "unchanged": 27}
    assert set(stage.items(stage.apply(plan)).values()) == {("delete", "done")}


def test_what_was_deleted_before_the_window_counts_no_more(stage: Stage) -> None:
    stage.rules(deletion="recoverable")
    for number in range(3):
        stage.keep(f"app/{number}", "value")
    stage.sync()
    stage.drop("app/0")
    assert stage.sync().counts == {"delete": 1, "unchanged": 2}
    stage.drop("app/1")
    assert stage.sync().counts == {"refused": 1, "unchanged": 2}
    done = PlanItem.objects.filter(plan__target=stage.target, act="delete")
    done.update(finished_at=timezone.now() - timedelta(hours=25))
    assert stage.sync().counts == {"delete": 1, "unchanged": 2}


def test_entries_that_keeper_did_not_write_widen_no_budget(deleting: Stage) -> None:
    deleting.keep("app/three", "first")
    deleting.sync()
    deleting.rules(budget_percent=50)
    for name in ("app/one", "app/two"):
        deleting.drop(name)
    plan = deleting.plan()
    assert plan.counts == {"refused": 2, "unchanged": 1}
    PlanItem.objects.filter(plan=plan).update(act="delete", state="planned")
    Plan.objects.filter(pk=plan.pk).update(state="ready")
    for number in range(20):
        SyncEntry.objects.create(target=deleting.target, name=f"made/{number}")
    SyncEntry.objects.filter(name__startswith="made/").update(ownership="created")
    plan.refresh_from_db()
    deleting.apply(plan)
    assert set(deleting.items(plan).values()) == {("delete", "skipped")}
    assert deleting.theirs("app/one") == "first"


def test_a_mark_that_is_taken_off_during_a_deletion_brings_the_secret_back(
    deleting: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleting.drop("app/one")
    plan = deleting.plan()
    backend: Any = type(deleting.world.backend())
    looked = 0
    refuse = backend._refuse_change

    def unmarked_after(self: Backend, seen: SecretMetadata, now: SecretMetadata | None) -> None:
        nonlocal looked
        refuse(self, seen, now)
        looked += 1
        self.unmark(seen)

    monkeypatch.setattr(backend, "_refuse_change", unmarked_after)
    deleting.apply(plan)
    assert looked == 1
    assert deleting.items(plan)["app/one"] == ("delete", "skipped")
    assert deleting.theirs("app/one") == "first"


@pytest.mark.parametrize(("state", "ended"), [("failed", True), ("intended", False), ("done", True)])
def test_a_deletion_that_may_have_happened_counts(stage: Stage, state: str, ended: bool) -> None:
    plan = Plan.objects.create(
        target=stage.target,
        state="failed",
        made_by=stage.alice.name,
        made_by_kind=stage.alice.kind,
        made_by_uuid=stage.alice.uuid,
    )
    now = timezone.now()
    item = PlanItem(plan=plan, name="one", act="delete", state=state, finished_at=now if ended else None)
    item.save()
    assert load_budget(stage.target).withdrawn == 1
    assert load_budget(stage.target, besides=plan).withdrawn == 0
    long_ago = now - timedelta(days=2)
    Plan.objects.filter(pk=plan.pk).update(created_at=long_ago)
    PlanItem.objects.filter(plan=plan, finished_at__isnull=False).update(finished_at=long_ago)
    assert load_budget(stage.target).withdrawn == 0


def test_a_secret_deleted_in_keeper_stays_in_the_target_where_deletion_is_off(stage: Stage) -> None:
    stage.rules(deletion="never", budget_number=10, budget_percent=100)
    for name in ("app/one", "app/two"):
        stage.keep(name, "first")
    stage.sync()
    stage.drop("app/one")
    assert "delete" not in stage.sync(rest=True).counts
    assert stage.theirs("app/one") == "first"
