"""JSON objects in Vault as people use it: pulled, adopted, compared by member, and written by the target's rule."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.applying.batch import Batch
from sync_app.backends.observations import SecretMetadata
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import BadDestination, TargetBusy
from sync_app.models import PlanItem, Target
from sync_app.state.value_forms import REWRITTEN
from sync_app.targets import service as targets
from sync_app.tests.applying.recovery.test_incidents import Killed, attempt, killed, requested
from sync_app.tests.applying.stage import Stage
from tests.servers.openbao import OpenBao

pytestmark = pytest.mark.every_database_weekly
LOGIN = '{"username": "app", "password": "first"}'


def keep_json(stage: Stage, name: str, value: str) -> Secret:
    secret, _ = write.put(
        actor=stage.alice,
        environment=stage.environment,
        name=name,
        value=value,
        secret_type=SecretType.JSON,
    )
    return secret


def choose(stage: Stage, rule: str) -> Target:
    return targets.change(actor=stage.alice, target=stage.fresh(), destination={"objects": rule})


def reasons(stage: Stage, **options: Any) -> dict[str, tuple[str, str]]:
    rows = PlanItem.objects.filter(plan=stage.plan(**options)).values_list("name", "act", "reason")
    return {name: (act, reason) for name, act, reason in rows}


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> Stage:
    return Stage(cast, vault)


def content(stage: Stage, name: str) -> Mapping[str, Any]:
    world = stage.world
    assert isinstance(world, VaultWorld)
    return world.content(stage.path(name))


def test_a_new_target_writes_keys_and_a_second_pass_nothing(stage: Stage) -> None:
    keep_json(stage, "app/login", LOGIN)
    stage.keep("app/text", "plain")
    assert stage.sync().counts == {"create": 2}
    assert content(stage, "app/login") == {"username": "app", "password": "first"}
    assert content(stage, "app/text") == {"value": "plain"}
    assert stage.sync().counts == {"unchanged": 2}


def test_a_plan_shows_a_change_of_the_rule_and_only_for_objects(stage: Stage) -> None:
    keep_json(stage, "app/login", LOGIN)
    stage.keep("app/text", "plain")
    stage.sync()
    for rule, expected in (("value", {"value": LOGIN}), ("keys", json.loads(LOGIN))):
        choose(stage, rule)
        assert reasons(stage) == {"app/login": ("update", REWRITTEN)}
        assert stage.sync().counts == {"unchanged": 1, "update": 1}
        assert content(stage, "app/login") == expected
        assert stage.sync().counts == {"unchanged": 2}


def test_a_plan_of_another_rule_is_not_applied(stage: Stage) -> None:
    keep_json(stage, "app/login", LOGIN)
    plan = stage.plan()
    assert plan.rules["objects"] == "keys"
    choose(stage, "value")
    with pytest.raises(Exception, match="rules"):
        stage.apply(plan)


def test_only_a_rule_changes_without_credentials(stage: Stage) -> None:
    for given in ({"address": "https://elsewhere.example"}, {"mount": "x"}, {"objects": "other"}, {"no": ""}):
        with pytest.raises(BadDestination):
            targets.change(actor=stage.alice, target=stage.fresh(), destination=given)


@pytest.mark.parametrize("rule", ["keys", "value", "merge"])
def test_any_object_is_pulled(cast: Cast, vault: VaultWorld, rule: str) -> None:
    stage = Stage(cast, vault, direction="pull")
    choose(stage, rule)
    vault.put(stage.path("login"), {"username": "u", "password": "p", "port": 5432})
    assert stage.sync().counts == {"pull": 1}
    assert json.loads(stage.value("login")) == {"username": "u", "password": "p", "port": 5432}
    assert stage.secret("login").secret_type == SecretType.JSON
    assert stage.sync().counts == {"unchanged": 1}


def test_the_same_object_is_adopted_whatever_its_order_and_spacing(stage: Stage, vault: VaultWorld) -> None:
    keep_json(stage, "app/login", LOGIN)
    vault.put(stage.path("app/login"), json.loads(LOGIN))
    options = {"names": ["app/login"], "mode": "only_if_equal"}
    assert stage.apply(stage.plan(kind="adopt", options=options)).counts == {"adopt": 1}
    assert stage.entry("app/login").ownership == "adopted"
    opened = AuditEvent.objects.filter(action="secret.deliver", details__contains='"compare"')
    assert opened.count() == 2
    keep_json(stage, "app/login", '{"username": "app", "password": "second"}')
    assert stage.sync().counts == {"update": 1}
    assert content(stage, "app/login") == {"username": "app", "password": "second"}


def test_an_object_that_differs_in_one_member_is_not(stage: Stage, vault: VaultWorld) -> None:
    keep_json(stage, "app/login", LOGIN)
    vault.put(stage.path("app/login"), {"username": "app", "password": "other"})
    options = {"names": ["app/login"], "mode": "only_if_equal"}
    assert reasons(stage, kind="adopt", options=options) == {
        "app/login": ("refused", "the values are not the same")
    }


def test_another_writers_keys_are_no_drift_and_stay(stage: Stage, vault: VaultWorld) -> None:
    choose(stage, "merge")
    keep_json(stage, "app/login", LOGIN)
    stage.sync()
    vault.put(stage.path("app/login"), json.loads(LOGIN) | {"theirs": "x"})
    assert stage.sync().counts == {"unchanged": 1}
    keep_json(stage, "app/login", '{"username": "app", "password": "second"}')
    assert stage.sync().counts == {"update": 1}
    assert content(stage, "app/login") == {"username": "app", "password": "second", "theirs": "x"}
    vault.put(stage.path("app/login"), {"username": "app", "password": "drifted", "theirs": "x"})
    assert stage.sync().counts == {"drifted": 1}


def test_what_others_may_share_is_not_deleted(cast: Cast, vault: VaultWorld) -> None:
    stage = Stage(cast, vault, deletion="recoverable", budget_number=10)
    choose(stage, "merge")
    keep_json(stage, "app/login", LOGIN)
    keep_json(stage, "app/other", LOGIN)
    stage.sync()
    stage.drop("app/login")
    found = reasons(stage)
    assert found["app/login"][0] == "refused"
    assert "Delete it in Vault" in found["app/login"][1]
    stage.sync()
    assert content(stage, "app/login") == json.loads(LOGIN)


def test_a_lost_answer_is_found_by_the_members(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_json(stage, "app/login", LOGIN)
    stage.sync()
    plan = stage.plan()
    keep_json(stage, "app/login", '{"username": "app", "password": "second"}')
    plan = stage.plan()
    entry = stage.entry("app/login")
    item = PlanItem.objects.get(plan=plan, name="app/login")
    from sync_app.models.target import Intent
    from sync_app.planning import sync_entries

    entry.record_intent(Intent(item.keeper_version, "2", item.keeper_number))
    sync_entries.save_entries([entry])
    # Written by the worker that was killed.
    world = stage.world
    assert isinstance(world, VaultWorld)
    world.put(stage.path("app/login"), {"password": "second", "username": "app"})
    keep_json(stage, "app/login", '{"username": "app", "password": "third"}')
    assert stage.sync().counts == {"update": 1}
    assert content(stage, "app/login") == {"username": "app", "password": "third"}


def test_a_killed_worker_and_a_failing_list_leave_the_keys_of_others(
    stage: Stage, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(stage, "merge")
    stage.target = stage.fresh()
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("app/login", "app/gone"):
        keep_json(stage, name, LOGIN)
    stage.sync()
    vault.put(stage.path("app/login"), json.loads(LOGIN) | {"theirs": "x"})
    vault.put(stage.path("app/foreign"), {"theirs": "y"})
    stage.sync()
    keep_json(stage, "app/login", '{"username": "app", "password": "second"}')
    stage.drop("app/gone")
    run = requested(stage)
    with monkeypatch.context() as patched:
        patched.setattr(VaultKv2, "list_secrets", failing)
        assert attempt(run) == "queued"
    with monkeypatch.context() as patched:
        patched.setattr(Batch, "commit", killed)
        with pytest.raises(Killed):
            attempt(run)
    assert attempt(run) == "done"
    stage.sync()
    assert content(stage, "app/login") == {"username": "app", "password": "second", "theirs": "x"}
    assert content(stage, "app/foreign") == {"theirs": "y"}
    assert content(stage, "app/gone") == json.loads(LOGIN)


def failing(_backend: VaultKv2) -> Iterator[SecretMetadata]:
    raise TargetBusy("the list was cut off")


def bao(vault: VaultWorld, *arguments: str) -> str:
    """Run the command as a person does."""
    environment = {
        "BAO_ADDR": vault.url,
        "BAO_TOKEN": vault.token,
        "HOME": "/nonexistent",
        "PATH": "/usr/bin",
    }
    program = str(Path(sys.executable).parent / OpenBao.program)
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.torture)])
@pytest.mark.parametrize("way", ["adopt", "pull"])
def test_ordinary_secrets_and_back(cast: Cast, vault: VaultWorld, way: str, count: int) -> None:
    stage = Stage(cast, vault, **({"direction": "pull"} if way == "pull" else {}))
    written = {
        f"svc{n:03}/db": {f"key{k}": f'v{n}="{k}" \'ä' for k in range(2 + n % 4)} for n in range(count)
    }
    for name, keys in written.items():
        bao(vault, "kv", "put", "-mount=secret", stage.path(name), *(f"{k}={v}" for k, v in keys.items()))
    if way == "adopt":
        options = {"names": [*written], "mode": "keep_theirs"}
        assert stage.apply(stage.plan(kind="adopt", options=options)).counts == {"adopt": count}
    else:
        assert stage.sync().counts == {"pull": count}
        # Back: to another place, by another target.
        vault.prefix += "-back"
        vault.destination = vault.destination | {"prefix": vault.prefix}
        stage = Stage(cast, vault)
        assert stage.sync().counts == {"create": count}
    for name, keys in written.items():
        assert json.loads(stage.value(name)) == keys
        assert content(stage, name) == keys
    assert stage.sync().counts == {"unchanged": count}
    changed = next(iter(written))
    keep_json(stage, changed, json.dumps(written[changed] | {"key0": "from Keeper"}))
    assert stage.sync().counts == {"unchanged": count - 1, "update": 1}
    shown = json.loads(bao(vault, "kv", "get", "-format=json", "-mount=secret", stage.path(changed)))
    assert shown["data"]["data"] == written[changed] | {"key0": "from Keeper"}
    field = bao(vault, "kv", "get", "-field=key0", "-mount=secret", stage.path(changed))
    assert field.strip() == "from Keeper"


def test_it_names_its_rules() -> None:
    rules = [field for field in VaultKv2.destination_fields if field.rule]
    assert [(field.name, field.default, field.initial) for field in rules] == [("objects", "value", "keys")]
