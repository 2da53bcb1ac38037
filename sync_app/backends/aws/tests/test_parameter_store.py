"""Parameter Store: races that it cannot prevent, lost replies, limits, permissions, on moto behind the strict layer."""

import functools
import inspect
from collections.abc import Iterator
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from botocore.retries.standard import ExponentialBackoff

from environments_app.tests.cast import Cast
from sync_app.backends.aws.parameter_store import AwsParameterStore
from sync_app.backends.aws.tests.world import ParameterWorld
from sync_app.backends.capabilities import Grant
from sync_app.backends.observations import Mark, version_number
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    OVERWROTE,
    BackendError,
    ChangedSinceRead,
    KeyUnusable,
    NameUnusable,
    OutcomeUnknown,
    Overwritten,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
)
from sync_app.models import PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.models.target import Intent
from sync_app.planning import sync_entries
from sync_app.runs import runner
from sync_app.tests.applying.stage import Stage
from tests.aws_strict.faults import Fault

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)


@pytest.fixture
def backend(ssm: ParameterWorld) -> Iterator[AwsParameterStore]:
    with ssm.backend() as made:
        yield made


def current(ssm: ParameterWorld, name: str) -> dict[str, Any]:
    found: dict[str, Any] = ssm.client.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Values": [f"/{ssm.prefix}/{name}"]}]
    )["Parameters"][0]
    return found


def test_a_version_that_came_between_read_and_write_is_written_back(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    path = f"{ssm.prefix}/password"
    ssm.plan.before("PutParameter", lambda: ssm.write(path, "theirs"))
    with pytest.raises(Overwritten, match="restored") as caught:
        backend.update(made, "canary-ours", token=OTHER_TOKEN)
    assert ssm.value(path) == "theirs"
    assert caught.value.permanent
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("between", ["theirs", "ours"])
def test_what_came_in_between_is_judged_once_the_looks_answer_again(
    stage: Stage, ssm: ParameterWorld, between: str
) -> None:
    """A request of ours that arrives late may be in between as well."""
    stage.keep("password", "first")
    stage.sync()
    stage.keep("password", "ours")

    def interfere() -> None:
        ssm.write(stage.path("password"), between)
        ssm.plan.keep_failing("GetParameter", Fault.THROTTLE)

    ssm.plan.before("PutParameter", interfere)
    run = runner.execute(runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert run is not None
    assert run.state == "queued"
    assert ssm.value(stage.path("password")) == "ours"
    ssm.plan.recover()
    Run.objects.filter(pk=run.pk).update(not_before=None)
    ended = runner.execute(run.pk)
    assert ended is not None
    assert ended.state == ("failed" if between == "theirs" else "done")
    assert ssm.value(stage.path("password")) == between
    assert ("restored" in stage.entry("password").reason) is (between == "theirs")
    stage.keep("password", "next")
    assert ("ownership_lost" in stage.sync().counts) is (between == "theirs")


@pytest.mark.parametrize("fails", ["version", "look at what it came over"])
def test_a_look_that_fails_after_an_answered_write_leaves_the_outcome_open(
    ssm: ParameterWorld, backend: AwsParameterStore, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    number = 2 if fails == "version" else 1
    deny = functools.partial(ssm.plan.keep_failing, "GetParameter", Fault.ACCESS_DENIED)
    assert isinstance(backend, AwsParameterStore)
    version = backend._version

    def look(path: str, which: int) -> Any:
        if which == number:
            deny()
        return version(path, which)

    monkeypatch.setattr(backend, "_version", look)
    with pytest.raises(OutcomeUnknown) as told:
        backend.update(made, "second", token=OTHER_TOKEN)
    assert told.value.made == "2"
    assert ssm.value(f"{ssm.prefix}/password") == "second"


def test_what_was_made_again_between_read_and_write_is_written_back(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    path = f"{ssm.prefix}/password"

    def replaced() -> None:
        ssm.remove(path)
        ssm.write(path, "another owner's")

    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    ssm.plan.before("PutParameter", replaced)
    with pytest.raises(Overwritten):
        backend.update(made, "ours", token=OTHER_TOKEN)
    assert ssm.value(path) == "another owner's"
    assert ssm.labels(path) == {}


def test_what_was_deleted_between_read_and_write_is_made_with_its_mark(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    ssm.plan.before("PutParameter", lambda: ssm.remove(f"{ssm.prefix}/password"))
    backend.update(made, "ours", token=OTHER_TOKEN)
    assert backend.get_metadata("password").mark == MARK


def test_a_write_that_got_through_is_not_ours_once_its_mark_is_gone(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    backend.update(made, "ours", token=OTHER_TOKEN)
    path = f"{ssm.prefix}/password"
    ssm.client.remove_tags_from_resource(
        ResourceType="Parameter", ResourceId=f"/{path}", TagKeys=[*ssm.labels(path)]
    )
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=OTHER_TOKEN)


def test_a_worker_that_died_before_it_looked_leaves_nothing(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    path = f"{ssm.prefix}/password"
    makes = backend.predict_version(made.version, token=OTHER_TOKEN)
    ssm.write(path, "theirs")
    ssm.write(path, "ours")
    with pytest.raises(Overwritten):
        backend.revert_unconfirmed_write(made, makes=makes, wrote=lambda value: value == "ours")
    assert ssm.value(path) == "theirs"


def test_what_came_after_ours_is_not_written_over(ssm: ParameterWorld, backend: AwsParameterStore) -> None:
    """Another client writes once more, after Keeper has looked at the history."""
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    path = f"{ssm.prefix}/password"
    makes = backend.predict_version(made.version, token=OTHER_TOKEN)
    ssm.write(path, "theirs")
    ssm.write(path, "ours")
    ssm.plan.before("GetParameter", lambda: ssm.write(path, "theirs, later"))
    with pytest.raises(Overwritten):
        backend.revert_unconfirmed_write(made, makes=makes, wrote=lambda value: value == "ours")
    assert ssm.value(path) == "theirs, later"


def test_an_earlier_delivery_of_the_same_value_is_no_overwriting(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    seen = backend.create("password", "one", mark=MARK, token=TOKEN)
    for number, value in enumerate(("two", "three")):
        seen = backend.update(seen, value, token=f"{number}{TOKEN}")
    makes = backend.predict_version(seen.version, token=OTHER_TOKEN)
    backend.revert_unconfirmed_write(seen, makes=makes, wrote=lambda value: value == "two")
    backend.update(seen, "two", token=OTHER_TOKEN)
    backend.revert_unconfirmed_write(seen, makes=makes, wrote=lambda value: value == "two")
    assert ssm.value(f"{ssm.prefix}/password") == "two"


def test_a_parameter_keeps_its_type_and_key(ssm: ParameterWorld, backend: AwsParameterStore) -> None:
    path = f"/{ssm.prefix}/theirs"
    ssm.client.put_parameter(Name=path, Value="plain", Type="String")
    backend.mark(backend.get_metadata("theirs"), MARK)
    backend.update(backend.get_metadata("theirs"), "ours", token=TOKEN)
    assert current(ssm, "theirs")["Type"] == "String"
    ssm.client.put_parameter(Name=f"{path}2", Value="x", Type="SecureString", KeyId="alias/theirs")
    backend.mark(backend.get_metadata("theirs2"), MARK)
    # AWS takes its own key for a write that names none; the stand-in does not.
    with mock.patch.object(backend._client, "put_parameter", wraps=backend._client.put_parameter) as put:
        backend.update(backend.get_metadata("theirs2"), "ours", token=TOKEN)
    assert put.call_args.kwargs["KeyId"] == "alias/theirs"
    assert current(ssm, "theirs2")["KeyId"] == "alias/theirs"


def test_lost_replies_are_found_again(ssm: ParameterWorld, backend: AwsParameterStore) -> None:
    ssm.plan.fail("PutParameter", Fault.DROPPED_REPLY)
    with pytest.raises(ChangedSinceRead):
        # The SDK sends it again: its own parameter is there, which the caller finds by mark and value.
        backend.create("a", "first", mark=MARK, token=TOKEN)
    made = backend.get_metadata("a")
    assert made.mark == MARK
    ssm.plan.fail("DeleteParameter", Fault.DROPPED_REPLY)
    backend.delete(made)
    assert backend.get_metadata("a").presence is Presence.ABSENT


def test_an_update_that_the_sdk_sent_twice_is_no_overwriting(
    ssm: ParameterWorld, backend: AwsParameterStore
) -> None:
    """The SDK sends a PutParameter again whose answer is lost: two versions hold Keeper's value."""
    seen = backend.create("a", "first", mark=MARK, token=TOKEN)
    ssm.plan.fail("PutParameter", Fault.DROPPED_REPLY)
    after = backend.update(seen, "second", token=OTHER_TOKEN)
    assert ssm.value(f"{ssm.prefix}/a") == "second"
    assert after.version == backend.get_metadata("a").version
    assert version_number(after.version) == 3
    backend.revert_unconfirmed_write(seen, makes="2", wrote=lambda value: value == "second")
    assert version_number(backend.get_metadata("a").version) == 3
    # Another writer's version between both is written back.
    ssm.plan.fail("PutParameter", Fault.DROPPED_REPLY)
    ssm.plan.before("PutParameter", lambda: ssm.write(f"{ssm.prefix}/a", "theirs"))
    with pytest.raises(Overwritten):
        backend.update(after, "third", token=f"3{TOKEN}")
    assert ssm.value(f"{ssm.prefix}/a") == "theirs"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLE, TargetBusy),
        (Fault.SERVER_ERROR, TargetBusy),
        (Fault.ACCESS_DENIED, PermissionMissing),
    ],
)
def test_a_failing_list_is_never_an_empty_one(
    ssm: ParameterWorld, backend: AwsParameterStore, fault: Fault, error: type[BackendError]
) -> None:
    backend.create("a", "1", mark=MARK, token=TOKEN)
    for operation in ("DescribeParameters", "ListTagsForResource"):
        ssm.plan.keep_failing(operation, fault)
        with pytest.raises(error) as caught:
            list(backend.list_secrets())
        ssm.plan.recover()
        if fault is Fault.ACCESS_DENIED:
            assert f"ssm:{operation}" in str(caught.value)
    assert [seen.name for seen in backend.list_secrets()] == ["a"]


def test_it_lists_all_pages(ssm: ParameterWorld, backend: AwsParameterStore) -> None:
    names = [f"app/{number:03}" for number in range(25)]
    for name in names:
        ssm.write(f"{ssm.prefix}/{name}", "x")
    assert sorted(seen.name for seen in backend.list_secrets()) == names


@pytest.mark.parametrize("name", ["with+plus", "a@b", "a=b", "/".join("x" * 15), "x" * 1011])
def test_names_that_aws_does_not_take_are_refused_before_any_request(
    ssm: ParameterWorld, backend: AwsParameterStore, name: str
) -> None:
    assert backend.explain_refusal("create", name)
    with pytest.raises(NameUnusable):
        backend.create(name, "x", mark=MARK, token=TOKEN)
    assert not ssm.plan.calls


def test_a_reserved_path_is_refused(ssm: ParameterWorld) -> None:
    with ssm.backend(prefix="aws") as backend:
        assert "reserves" in backend.explain_refusal("create", "x")


def test_values_that_aws_does_not_take_are_refused(ssm: ParameterWorld) -> None:
    with ssm.backend(tier="standard") as backend:
        assert backend.max_value_bytes == 4096
        backend.create("a", "x" * 4096, mark=MARK, token=TOKEN)
        with pytest.raises(QuotaExceeded, match="4,096"):
            backend.create("b", "ä" * 2049, mark=MARK, token=TOKEN)
        with pytest.raises(RequestRefused):
            backend.create("b", "", mark=MARK, token=TOKEN)


def test_it_names_each_permission(ssm: ParameterWorld, backend: AwsParameterStore) -> None:
    assert {each.grant for each in backend.probe_permissions()} == {Grant.GRANTED, Grant.UNPROVEN}
    text = inspect.getdoc(inspect.getmodule(AwsParameterStore)) or ""
    for operation in ("DeleteParameter", "RemoveTagsFromResource"):
        ssm.plan.keep_failing(operation, Fault.ACCESS_DENIED)
        missing = [each.name for each in backend.probe_permissions() if each.grant is Grant.MISSING]
        ssm.plan.recover()
        assert missing == [f"ssm:{operation}"]
    for permission in backend.probe_permissions():
        assert permission.name.partition(":")[2] in text


def test_a_key_that_is_not_there_is_named(ssm: ParameterWorld) -> None:
    from botocore.exceptions import ClientError

    from sync_app.backends.aws.errors import translate_error

    error = ClientError({"Error": {"Code": "InvalidKeyId", "Message": "canary"}}, "PutParameter")
    found = translate_error("ssm:PutParameter", error)
    assert isinstance(found, KeyUnusable)
    assert "canary" not in str(found)


# --- By plan and apply ------------------------------------------------------------------------


@pytest.fixture
def stage(cast: Cast, ssm: ParameterWorld) -> Stage:
    return Stage(cast, ssm)


def reasons(stage: Stage) -> dict[str, tuple[str, str]]:
    rows = PlanItem.objects.filter(plan=stage.plan()).values_list("name", "act", "reason")
    return {name: (act, reason) for name, act, reason in rows}


def test_the_plan_refuses_what_does_not_fit(stage: Stage) -> None:
    stage.keep("app/fits", "x" * 8192)
    stage.keep("app/large", "x" * 8193)
    stage.keep("app/a@b", "x")
    found = reasons(stage)
    assert found["app/fits"][0] == "create"
    assert found["app/large"] == ("refused", "its value has 8,193 bytes, and the target takes 8,192 at most")
    assert found["app/a@b"][0] == "refused"
    assert "rename" in found["app/a@b"][1]
    assert stage.sync().counts == {"create": 1, "refused": 2}
    assert stage.sync().counts == {"refused": 2, "unchanged": 1}


def test_the_plan_refuses_text_in_double_braces(stage: Stage) -> None:
    """PutParameter, "Value": such text is a reference to another parameter."""
    stage.keep("nested", "canary {{ssm:other}}")
    stage.keep("plain", "{ {not one} }")
    plan = stage.plan()
    refused = dict(PlanItem.objects.filter(plan=plan, act="refused").values_list("name", "reason"))
    assert "double braces" in refused["nested"]
    assert "canary" not in refused["nested"]
    assert stage.items(stage.apply(plan)) == {"nested": ("refused", "skipped"), "plain": ("create", "done")}


def test_the_plan_says_that_a_deletion_is_for_good(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_number=10)
    stage.keep("app/a", "first")
    stage.keep("app/b", "first")
    stage.sync()
    stage.drop("app/a")
    act, reason = reasons(stage)["app/a"]
    assert act == "delete"
    assert "keeps nothing" in reason
    assert stage.sync().counts == {"delete": 1, "unchanged": 1}
    assert stage.world.labels_or_none(stage.path("app/a")) is None
    assert stage.sync().counts == {"unchanged": 2}


def test_what_lost_its_mark_or_was_made_again_is_left_alone(stage: Stage, ssm: ParameterWorld) -> None:
    stage.rules(deletion="recoverable", conflict="keeper_wins", budget_number=10)
    for name in ("unmarked", "recreated", "kept"):
        stage.keep(name, "first")
    stage.sync()
    ssm.client.remove_tags_from_resource(
        ResourceType="Parameter",
        ResourceId=f"/{stage.path('unmarked')}",
        TagKeys=["keeper-deployment", "keeper-target", "keeper-secret"],
    )
    ssm.remove(stage.path("recreated"))
    stage.edit("recreated", "theirs")
    for name in ("unmarked", "recreated"):
        stage.keep(name, "second")
    assert stage.sync().counts == {"ownership_lost": 2, "unchanged": 1}
    stage.drop("unmarked")
    stage.drop("recreated")
    stage.sync()
    assert stage.theirs("recreated") == "theirs"
    assert stage.theirs("unmarked") == "first"


def test_adoption_and_leave(stage: Stage) -> None:
    stage.edit("theirs", "value")
    options = {"names": ["theirs"], "mode": "keep_theirs"}
    assert stage.apply(stage.plan(kind="adopt", options=options)).counts == {"adopt": 1}
    assert stage.value("theirs") == "value"
    stage.keep("theirs", "by Keeper")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("theirs") == "by Keeper"
    stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"}))
    assert stage.world.labels(stage.path("theirs")) == {}


def test_a_lost_write_is_found_by_its_value(stage: Stage) -> None:
    stage.keep("app/a", "first")
    stage.sync()
    stage.keep("app/a", "second")
    plan = stage.plan()

    item = PlanItem.objects.get(plan=plan, name="app/a")
    entry = stage.entry("app/a")
    entry.record_intent(Intent(item.keeper_version, "2", item.keeper_number))
    sync_entries.save_entries([entry])
    stage.edit("app/a", "second")
    stage.keep("app/a", "third")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("app/a") == "third"
    # Of another writer with a version of that number, nothing is claimed.
    stage.keep("app/a", "fourth")
    plan = stage.plan()
    item = PlanItem.objects.get(plan=plan, name="app/a")
    entry = stage.entry("app/a")
    entry.record_intent(Intent(item.keeper_version, "4", item.keeper_number))
    sync_entries.save_entries([entry])
    stage.edit("app/a", "theirs")
    stage.keep("app/a", "fifth")
    assert stage.sync().counts == {"conflict": 1}
    assert stage.theirs("app/a") == "theirs"


def test_a_write_that_arrived_twice_is_no_conflict_with_a_new_value(stage: Stage) -> None:
    """Of a request that the SDK gave up, and sent again: both arrived, the first one last."""
    for name in ("app/a", "app/b"):
        stage.keep(name, "first")
    stage.sync()
    stage.edit("app/a", "first")
    stage.edit("app/b", "theirs")
    for name in ("app/a", "app/b"):
        stage.keep(name, "second")
    assert stage.sync().counts == {"conflict": 1, "update": 1}
    assert (stage.theirs("app/a"), stage.theirs("app/b")) == ("second", "theirs")
    # One that was given up, arrived after another, and is older than what Keeper holds by now.
    stage.keep("app/a", "third")
    plan = stage.plan()
    item = PlanItem.objects.get(plan=plan, name="app/a")
    entry = stage.entry("app/a")
    number = version_number(entry.base_target)
    entry.record_intent(Intent(item.keeper_version, str(number + 1), item.keeper_number))
    sync_entries.save_entries([entry])
    stage.edit("app/a", "second")
    stage.edit("app/a", "third")
    stage.keep("app/a", "fourth")
    assert stage.sync().counts == {"conflict": 1, "update": 1}
    assert (stage.theirs("app/a"), stage.theirs("app/b")) == ("fourth", "theirs")


def test_a_write_that_a_proxy_sends_twice_is_no_conflict_with_a_new_value(
    stage: Stage, ssm: ParameterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keeper sees the second of both versions, which is not the one that was answered."""
    stage.keep("app/a", "first")
    stage.sync()
    put = AwsParameterStore._put

    def put_twice(self: AwsParameterStore, path: str, value: str, **options: Any) -> int:
        made = put(self, path, value, **options)
        ssm.write(path.removeprefix("/"), value)
        return made

    stage.keep("app/a", "second")
    with monkeypatch.context() as patched:
        patched.setattr(AwsParameterStore, "_put", put_twice)
        stage.sync()
    stage.keep("app/a", "third")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("app/a") == "third"


@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
def test_a_value_that_was_put_back_stays_until_somebody_adopts_it(
    stage: Stage, ssm: ParameterWorld, conflict: str
) -> None:
    """Also where the other client wrote it under our mark, which PutParameter leaves."""
    stage.rules(conflict=conflict)
    stage.keep("password", "first")
    stage.sync()
    stage.keep("password", "second")
    ssm.plan.before("PutParameter", lambda: ssm.write(stage.path("password"), "theirs"))
    for _ in range(3):
        stage.sync(rest=True)
        assert stage.theirs("password") == "theirs"
        entry = stage.entry("password")
        assert (entry.state, entry.reason.startswith(f"{OVERWROTE}; restored; version 3")) == ("failed", True)
    plan = stage.plan(kind=PlanKind.ADOPT, options={"mode": "replace", "names": ["password"]})
    assert stage.items(plan)["password"][0] == "adopt"
    stage.apply(plan)
    assert stage.entry("password").state != "failed"
