"""Names in AWS: lists that are minutes old, and names that are planned for deletion, restored, or used again."""

from collections.abc import Callable, Iterator

import pytest

from environments_app.tests.cast import Cast
from sync_app.applying import service as applying
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.models import PlanItem
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.conftest import _no_haste, _no_lag, _no_pauses, _short_cut, nudges
from sync_app.tests.applying.stage import Stage

# As all tests of the engine: without pauses, and without messages to workers.
__all__ = ["_no_haste", "_no_lag", "_no_pauses", "_short_cut", "nudges"]
pytestmark = pytest.mark.django_db


WRITES = ("CreateSecret", "PutSecretValue", "DeleteSecret", "RestoreSecret")


@pytest.fixture
def stage(cast: Cast, aws: AwsWorld) -> Stage:
    return Stage(cast, aws, deletion="recoverable", budget_number=100, budget_percent=100)


@pytest.fixture
def old_list(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], pytest.MonkeyPatch]]:
    """Return what has every list show for ever what it shows now; `undo` of what it returns ends that."""
    with monkeypatch.context() as patched:

        def begin() -> pytest.MonkeyPatch:
            client = stage.world.client  # type: ignore[attr-defined]
            pages = client.get_paginator("list_secrets").paginate(
                IncludePlannedDeletion=True, Filters=[{"Key": "name", "Values": [stage.world.prefix]}]
            )
            page = {"SecretList": [entry for page in pages for entry in page["SecretList"]]}
            patched.setattr(AwsSecretsManager, "_list_page", lambda *_given, **_options: page)
            return patched

        yield begin


def wrote(aws: AwsWorld) -> dict[str, int]:
    """Return which writes were asked for since this was asked last."""
    asked = {each: aws.plan.asked[each] for each in WRITES if aws.plan.asked[each]}
    aws.plan.clear()
    return asked


def plan_for_deletion(stage: Stage, name: str) -> None:
    stage.world.remove(stage.path(name))


def remove(stage: Stage, name: str) -> None:
    stage.world.client.delete_secret(SecretId=stage.path(name), ForceDeleteWithoutRecovery=True)  # type: ignore[attr-defined]


def restore(stage: Stage, name: str) -> None:
    stage.world.client.restore_secret(SecretId=stage.path(name))  # type: ignore[attr-defined]


# --- Lists that lag -----------------------------------------------------------------------------


def test_what_was_made_since_the_list_is_neither_made_again_nor_missing(
    stage: Stage, aws: AwsWorld, old_list: Callable[[], pytest.MonkeyPatch]
) -> None:
    stage.rules(conflict="keeper_wins")
    for number in range(6):
        stage.keep(f"app/{number}", "first")
    old_list()
    assert stage.sync().counts == {"create": 6}
    wrote(aws)
    assert stage.sync().counts == {"unchanged": 6}
    for number in range(6):
        stage.keep(f"app/{number}", "second")
    assert stage.sync(rest=True).counts == {"update": 6}
    assert wrote(aws) == {"PutSecretValue": 6}
    assert {stage.theirs(f"app/{number}") for number in range(6)} == {"second"}
    assert stage.sync().counts == {"unchanged": 6}


def test_what_a_stranger_made_since_the_list_is_left_alone(
    stage: Stage, aws: AwsWorld, old_list: Callable[[], pytest.MonkeyPatch]
) -> None:
    old_list()
    stage.edit("one", "theirs")
    stage.keep("one", "ours")
    assert stage.sync().counts == {"unmanaged": 1}
    assert (stage.theirs("one"), wrote(aws)) == ("theirs", {})


def test_what_was_deleted_since_the_list_is_not_deleted_again(
    stage: Stage, aws: AwsWorld, old_list: Callable[[], pytest.MonkeyPatch]
) -> None:
    for name in ("dropped", "kept"):
        stage.keep(name, "value")
    stage.sync()
    lag = old_list()
    stage.drop("dropped")
    assert stage.sync().counts == {"delete": 1, "unchanged": 1}
    wrote(aws)
    # The list still shows it: it is looked at before anything is done.
    plan = stage.sync()
    assert stage.items(plan) == {"dropped": ("delete", "skipped")}
    assert wrote(aws) == {}
    lag.undo()
    assert stage.sync().counts == {"unchanged": 2}


@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
def test_what_a_stranger_removed_since_the_list_is_not_taken_for_written(
    stage: Stage, aws: AwsWorld, old_list: Callable[[], pytest.MonkeyPatch], conflict: str
) -> None:
    stage.rules(conflict=conflict)
    stage.keep("one", "first")
    stage.keep("kept", "first")
    stage.sync()
    lag = old_list()
    remove(stage, "one")
    stage.keep("one", "second")
    plan = stage.sync(rest=True)
    assert stage.items(plan) == {"one": ("update", "skipped")}
    assert stage.entry("one").state == "pending"
    lag.undo()
    gone = "create" if conflict == "keeper_wins" else "missing"
    assert stage.sync(rest=True).counts == {gone: 1, "unchanged": 1}
    if conflict == "keeper_wins":
        assert stage.theirs("one") == "second"


# --- Names that are planned for deletion ----------------------------------------------------------


@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
def test_a_name_that_we_deleted_is_restored_for_the_next_secret_of_the_name(
    stage: Stage, aws: AwsWorld, conflict: str
) -> None:
    stage.rules(conflict=conflict)
    stage.keep("kept", "value")
    stage.keep("one", "first")
    stage.sync()
    stage.drop("one")
    assert stage.sync().counts == {"delete": 1, "unchanged": 1}
    secret = stage.keep("one", "second")
    plan = stage.sync(rest=True)
    if conflict == "ask":
        assert plan.counts == {"missing": 1, "unchanged": 1}
        item = PlanItem.objects.get(plan=plan, name="one")
        run = applying.request_resolution(actor=stage.alice, item=item, choice="keep_ours")
        stage.world_rest()
        assert runs_runner.execute(run.pk) is not None
    assert stage.theirs("one") == "second"
    assert aws.labels(stage.path("one"))["keeper-secret"] == str(secret.uuid)
    assert stage.sync().counts == {"unchanged": 2}


@pytest.mark.parametrize("when", ["before the plan", "before the write"])
def test_a_name_that_a_stranger_deleted_is_waited_for(stage: Stage, aws: AwsWorld, when: str) -> None:
    stage.keep("one", "ours")

    def held() -> None:
        stage.edit("one", "theirs")
        plan_for_deletion(stage, "one")

    if when == "before the plan":
        held()
        plan = stage.sync()
        assert stage.items(plan) == {"one": ("refused", "skipped")}
        assert "scheduled for deletion" in stage.entry("one").reason
    else:
        aws.plan.before("CreateSecret", held)
        plan = stage.sync()
        item = PlanItem.objects.get(plan=plan)
        assert (item.state, item.permanent) == ("failed", True)
        assert "planned for deletion" in item.error
        assert stage.sync().counts == {"refused": 1}
    assert aws.labels(stage.path("one")) == {}
    # Their window is over.
    remove(stage, "one")
    assert stage.sync().counts == {"create": 1}
    assert stage.theirs("one") == "ours"
    assert stage.sync().counts == {"unchanged": 1}


def test_a_name_that_a_stranger_restores_is_theirs_again(stage: Stage) -> None:
    stage.keep("one", "ours")
    stage.edit("one", "theirs")
    plan_for_deletion(stage, "one")
    assert stage.sync().counts == {"refused": 1}
    restore(stage, "one")
    assert stage.sync().counts == {"unmanaged": 1}
    assert stage.theirs("one") == "theirs"


def test_what_a_stranger_restores_is_deleted_no_more_often_than_the_budget_allows(stage: Stage) -> None:
    stage.rules(budget_number=3)
    stage.keep("kept", "value")
    stage.keep("one", "first")
    stage.sync()
    stage.drop("one")
    for _ in range(3):
        assert stage.sync().counts == {"delete": 1, "unchanged": 1}
        restore(stage, "one")
    plan = stage.sync()
    assert plan.counts == {"refused": 1, "unchanged": 1}
    assert "deletion limit" in PlanItem.objects.get(plan=plan, act="refused").reason
    assert stage.theirs("one") == "first"


@pytest.mark.parametrize("again", [False, True], ids=["gone from Keeper", "made again in Keeper"])
@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
def test_a_name_that_a_stranger_uses_after_the_window_is_theirs(
    stage: Stage, aws: AwsWorld, conflict: str, again: bool
) -> None:
    stage.rules(conflict=conflict)
    stage.keep("kept", "value")
    stage.keep("one", "first")
    stage.sync()
    stage.drop("one")
    stage.sync()
    remove(stage, "one")
    stage.edit("one", "theirs")
    if again:
        stage.keep("one", "second")
    wrote(aws)
    for _ in range(2):
        assert stage.sync(rest=True).counts == {"unchanged": 1, "unmanaged": 1}
    assert (stage.theirs("one"), aws.labels(stage.path("one")), wrote(aws)) == ("theirs", {}, {})


def test_a_name_is_free_after_the_window(stage: Stage) -> None:
    stage.keep("kept", "value")
    stage.keep("one", "first")
    stage.sync()
    stage.drop("one")
    stage.sync()
    remove(stage, "one")
    # What was known of it is forgotten once two looks in a row find nothing.
    for _ in range(2):
        assert stage.sync().counts == {"unchanged": 2}
    stage.keep("one", "second")
    counts = stage.sync(rest=True).counts
    assert counts == {"create": 1, "unchanged": 1}
    assert stage.theirs("one") == "second"
    assert stage.sync().counts == {"unchanged": 2}
