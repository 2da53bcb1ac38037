"""The command `sync`: what it prints, and what its exit code says."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.tests.applying.stage import Stage
from tests.aws_strict.faults import Fault

Sync = Callable[..., tuple[int, str]]


@pytest.fixture
def sync(stage: Stage) -> Sync:
    def run(action: str, *arguments: str) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command("sync", action, "development", stage.target.name, *arguments, stdout=out)
        except SystemExit as error:
            return int(error.code or 0), out.getvalue()
        return 0, out.getvalue()

    return run


def test_plan_shows_what_would_be_done_and_does_nothing(stage: Stage, sync: Sync) -> None:
    stage.keep("app/one", "canary-value")
    code, text = sync("plan")
    assert code == 3
    assert "+ create    app/one: only in Keeper" in text
    assert "1 create" in text
    assert "canary-value" not in text
    assert sync("apply", "--plan", _number(text))[0] == 0
    assert stage.theirs("app/one") == "canary-value"
    assert sync("plan")[0] == 0


def test_apply_plans_and_carries_out(stage: Stage, sync: Sync) -> None:
    stage.keep("app/one", "value")
    code, text = sync("apply", "--format", "json")
    report = json.loads(text)
    assert (code, report["state"], report["items"][0]["state"]) == (0, "done", "done")
    assert stage.theirs("app/one") == "value"
    (event,) = AuditEvent.objects.filter(action="secret.deliver", outcome="allowed")
    assert event.actor_name == "system"


def test_adopt_takes_over_what_exists(stage: Stage, sync: Sync) -> None:
    stage.edit("app/one", "same")
    stage.keep("app/one", "same")
    code, text = sync("adopt", "app/one", "--apply")
    assert (code, "adopt" in text) == (0, True)
    assert stage.entry("app/one").ownership == "adopted"


def test_status_counts_states_and_says_what_failed(stage: Stage, sync: Sync) -> None:
    stage.keep("app/one", "value")
    sync("apply")
    assert status() == (0, {"in_sync": 1}, "")
    stage.edit("app/one", "edited")
    assert sync("check")[0] == 3
    assert status() == (3, {"drifted": 1}, "")


def test_a_failure_is_said_and_exits_with_1(cast: Cast, aws: AwsWorld) -> None:
    target = Stage(cast, aws).target
    aws.plan.fail("ListSecrets", Fault.ACCESS_DENIED)
    with pytest.raises(CommandError, match="secretsmanager:ListSecrets") as caught:
        call_command("sync", "plan", "development", target.name)
    assert caught.value.returncode == 1
    assert status()[0] == 1


@pytest.mark.parametrize("arguments", [("nowhere", "target"), ("development", "nothing")])
def test_unknown_names_are_wrong_usage(stage: Stage, arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("sync", "plan", *arguments)
    assert caught.value.returncode == 2


def status() -> tuple[int, dict[str, int], str]:
    out, code = StringIO(), 0
    try:
        call_command("sync", "status", "development", "--format", "json", stdout=out)
    except SystemExit as error:
        code = int(error.code or 0)
    (report,) = json.loads(out.getvalue())
    return code, report["states"], report["last_error"]


def _number(text: str) -> str:
    return text.split()[1]
