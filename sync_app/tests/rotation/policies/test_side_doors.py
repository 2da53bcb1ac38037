"""No side door: whatever writes a value under a policy is refused, or has to log in first."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from audit_app.events.actions import Action
from audit_app.tests.trail import take_away
from environments_app.approvals import service as approvals
from environments_app.approvals.gate import system_approval
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidInput, ManagedValue, StaleVersion
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.service import import_entries
from secrets_app.models import Secret
from secrets_app.rows import store
from secrets_app.services import lifecycle, read, transfer, version_stages, write
from secrets_app.services import versions as all_versions
from secrets_app.types.registry import SecretType
from secrets_app.values import versions
from sync_app.applying import pull as applying_pull
from sync_app.domain.rotation_state import Step
from sync_app.errors import RotationConflict
from sync_app.models import PlanItem, Target
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.policies import service as policies
from sync_app.rotation.policies.guards import guard_write
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, stages, stored, worked
from sync_app.tests.rotators.worlds import DatabaseWorld, World

ROOT = Path(__file__).parents[4]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def pull(cast: Cast, secret: Secret, value: str) -> None:
    target = Target(uuid=uuid4(), environment=cast.development, name="elsewhere")
    version = secret.versions.get(number=secret.current_number).uuid.hex
    item = PlanItem(name=secret.name, keeper_version=version)
    alice = cast.principal(cast.alice)
    clearance = system_approval(alice, cast.development)
    applying_pull.store_pulled_value(actor=alice, target=target, item=item, value=value, approval=clearance)


def put(cast: Cast, secret: Secret, value: str) -> None:
    place = secret.environment
    write.put(actor=cast.principal(cast.alice), environment=place, name=secret.name, value=value)


def promote(cast: Cast, secret: Secret, value: str) -> None:
    alice = cast.principal(cast.alice)
    source = write.put(
        actor=alice,
        environment=cast.production,
        name=f"staged/{secret.current_number}",
        value=value,
        secret_type=SecretType(secret.secret_type),
    )[0]
    transfer.overwrite(actor=alice, secret=source, onto=secret, expected=secret.etag)


def bring_in(cast: Cast, secret: Secret, value: str) -> None:
    entries = [Entry(place=1, name=secret.name, value=value)]
    actor = cast.principal(cast.alice)
    _, results = import_entries(actor=actor, environment=secret.environment, entries=entries)
    if not results[0].done:
        raise ManagedValue(results[0].reason)


DOORS: dict[str, Callable[[Cast, Secret, str], object]] = {
    "put": put,
    "pull": pull,
    "promote": promote,
    "import": bring_in,
    "resolve references": lambda cast, secret, _: write.update(
        actor=cast.principal(cast.alice),
        secret=secret,
        value=read.reveal(actor=cast.principal(cast.alice), secret=secret).value,
        uses_references=True,
    ),
    "update": lambda cast, secret, value: write.update(
        actor=cast.principal(cast.alice), secret=secret, value=value, expected=secret.etag
    ),
    "retype": lambda cast, secret, _: write.update(
        actor=cast.principal(cast.alice), secret=secret, value="1234567890", secret_type=SecretType.PASSWORD
    ),
    "rollback": lambda cast, secret, _: write.rollback(
        actor=cast.principal(cast.alice), secret=secret, number=1
    ),
    "delete": lambda cast, secret, _: lifecycle.delete(actor=cast.principal(cast.alice), secret=secret),
    "delete a version": lambda cast, secret, _: all_versions.delete_versions(
        actor=cast.principal(cast.alice), secret=secret, numbers=[1]
    ),
    "destroy a version": lambda cast, secret, _: all_versions.destroy_versions(
        actor=cast.principal(cast.alice), secret=secret, numbers=[1]
    ),
    "delete all versions": lambda cast, secret, _: all_versions.delete_all(
        actor=cast.principal(cast.alice), secret=secret
    ),
    "move": lambda cast, secret, _: transfer.move(
        actor=cast.principal(cast.alice), secret=secret, environment=cast.production
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_generated_value_is_the_policys_alone(cast: Cast, generated: World, door: str) -> None:
    secret = made_secret(cast, generated)
    policy = made_policy(cast, generated, secret=secret)
    rotation = worked(asked(cast, policy))
    for ended in (False, True):
        before = stages(cast, secret)
        with pytest.raises(ManagedValue):
            DOORS[door](cast, stored(secret), "written by hand")
        assert stages(cast, secret) == before
        assert Secret.objects.filter(environment=cast.development, live=True).count() == 1
        if not ended:
            rotation = worked(grace_over(rotation))
    # What says nothing of the value is open to editors as ever, and so is everything without a policy.
    write.update(actor=cast.principal(cast.alice), secret=stored(secret), description="the app's")
    policies.remove(actor=cast.principal(cast.alice), policy=policy)
    DOORS[door](cast, stored(secret), "written by hand")


@pytest.mark.parametrize("door", ["update", "rollback", "delete"])
def test_what_a_second_person_approved_before_there_was_a_policy_is_refused_when_it_is_carried_out(
    cast: Cast, generated: World, door: str
) -> None:
    secret = made_secret(cast, generated)
    place = cast.development
    take_away(Membership.objects.filter(environment=place, user=cast.erin))
    Membership.objects.create(environment=place, user=cast.erin, role=Role.MANAGER)
    place.protected = True
    place.save()
    with pytest.raises(ApprovalNeeded) as asked_for:
        DOORS[door](cast, stored(secret), "written by hand")
    approval = Approval.objects.select_related("environment").get(pk=asked_for.value.approval)
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=approval)
    # One that is suspended answers for the value as well.
    assert made_policy(cast, generated, secret=secret).suspended_at is not None
    with pytest.raises(ManagedValue):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)
    assert (stored(secret).current_number, stored(secret).live) == (1, True)


def test_a_secret_that_resolves_references_is_put_under_no_policy(cast: Cast, generated: World) -> None:
    secret = made_secret(cast, generated, uses_references=True)
    with pytest.raises(RotationConflict):
        made_policy(cast, generated, secret=secret)


def test_a_value_that_ends_is_put_under_no_policy_and_one_under_a_policy_gets_no_end(
    cast: Cast, generated: World
) -> None:
    secret = made_secret(cast, generated)
    policy = made_policy(cast, generated, secret=secret)
    cast.development.version_defaults = {"delete_version_after": 60}
    cast.development.save()
    worked(asked(cast, policy))
    assert (stored(secret).current_number, stored(secret).rules.deleted) == (2, {})
    ending = made_secret(cast, generated, name="app/other")
    with pytest.raises(RotationConflict, match="deleted at a time"):
        made_policy(cast, generated, secret=ending)


# Every place that stores a version or a secret, and why it is no side door: a door above, whose test
# shows it refused; `new`, since no policy answers for a secret that was not there; `rotation`, its own
# steps; `described`, which leaves alone what is served and where.
WRITERS = {
    "secrets_app.services.bulk_create._insert": "new",
    "secrets_app.key_operations.fernet_import._import": "new",
    "secrets_app.services.decoys._stored": "described",
    "secrets_app.services.guarded._stored": "described",
    "secrets_app.services.histories.carry": "new",
    "secrets_app.services.lifecycle.delete": "delete",
    "secrets_app.services.lifecycle.mark_rotation_due": "described",
    "secrets_app.services.lifecycle.rename": "described",
    "secrets_app.services.lifecycle.restore": "described",
    "secrets_app.services.version_stages._store": "rotation",
    "secrets_app.services.versions._ended": "delete a version",
    "secrets_app.services.versions.delete_all": "delete all versions",
    "secrets_app.services.versions.delete_versions": "delete a version",
    "secrets_app.services.versions.destroy_versions": "destroy a version",
    "secrets_app.services.versions.restore_versions": "described",
    "secrets_app.services.write._update_once": "update",
    "secrets_app.services.write.create": "new",
    "secrets_app.services.write.describe": "new",
    "secrets_app.services.write.rollback": "rollback",
    "sync_app.rotation.execution.operator_actions.abandon": "rotation",
    "sync_app.rotation.execution.operator_actions.roll_back": "rotation",
    "sync_app.rotation.execution.steps._prepare": "rotation",
    "sync_app.rotation.execution.steps._promote": "rotation",
    "sync_app.rotation.execution.steps._retire": "rotation",
    "sync_app.rotation.policies.guards.end_tampered": "rotation",
    "sync_app.rotation.execution.steps._set": "rotation",
    "sync_app.rotation.execution.steps._revoke_unserved": "rotation",
}
# What stores them, by the module that has it.
STORING = {
    "secrets_app.rows.store": {"update_stored", "insert"},
    "secrets_app.rows.bulk_insert": {"insert_rows"},
    "secrets_app.services.version_stages": {
        "stage",
        "promote",
        "restore_previous",
        "clear_pending",
        "drop_previous",
    },
}


def writers(path: Path) -> Iterator[str]:
    """Yield the functions of a module that call what stores versions, under whatever name it was imported."""
    tree = ast.parse(path.read_text())
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in STORING.get(node.module or "", ()):
                    named.add(alias.asname or alias.name)
                for storing in STORING.get(f"{node.module}.{alias.name}", ()):
                    named.add(f"{alias.asname or alias.name}.{storing}")
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            calls = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
            if named & set(calls):
                yield f"{module}.{function.name}"


def test_every_place_that_stores_a_version_is_known_and_guarded() -> None:
    apps = (
        "core",
        "audit_app",
        "environments_app",
        "secrets_app",
        "sync_app",
        "gateway_app",
        "operations_app",
        "keeper_project",
    )
    paths = [
        path
        for app in apps
        for path in (ROOT / app).rglob("*.py")
        if not {"tests", "migrations"} & set(path.parts)
    ]
    assert {writer for path in paths for writer in writers(path)} == WRITERS.keys()
    assert set(WRITERS.values()) - {"new", "rotation", "described"} <= DOORS.keys()
    # The number of the version that is served is set where these store it, and nowhere else, but for a new
    # secret, which continues the numbers of a deleted one of its name.
    beginning = {"secrets_app/services/write.py", "secrets_app/key_operations/fernet_import.py"}
    setting = {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if re.search(r"\.current_number =[^=]|current_number=(?!F)", path.read_text())
    }
    storing = {"secrets_app/rows/store.py", "secrets_app/services/version_stages.py"}
    assert setting - beginning <= storing


def test_a_version_that_no_guard_admitted_does_not_become_current(cast: Cast, generated: World) -> None:
    secret = made_secret(cast, generated)
    alice = cast.principal(cast.alice)
    version = version_stages.prepare(actor=alice, secret=secret, value="past the guards", comment="")
    clearance = system_approval(alice, cast.development)
    with pytest.raises(TypeError):
        store.update_stored(
            actor=alice,
            secret=secret,
            action=Action.SECRET_UPDATE,
            details={},
            version=version,
            clearance=clearance,
        )
    assert stored(secret).current_number == 1


def test_a_password_that_was_changed_by_hand_is_taken_once_it_logs_in(
    cast: Cast, database: DatabaseWorld
) -> None:
    secret = made_secret(cast, database)
    policy = made_policy(cast, database, secret=secret, grace_seconds=0)
    new = json.dumps({**json.loads(database.current), "password": "by hand"})
    foreign = json.dumps({**json.loads(database.current), "username": "somebody", "password": "by hand"})
    for refused in (new, foreign, "no JSON"):
        with pytest.raises((ManagedValue, InvalidInput)) as caught:
            put(cast, secret, refused)
        assert "by hand" not in str(caught.value)
    rotation = worked(asked(cast, policy))
    current = stages(cast, secret)["current"] or ""
    # A rotation that has ended: now somebody changes the password on the server.
    assert rotation.step == Step.DONE
    changed = json.dumps({**json.loads(current), "password": "changed by hand"})
    database.set_password(json.loads(current)["username"], "changed by hand")
    put(cast, secret, changed)
    assert stages(cast, secret)["current"] == changed
    assert worked(asked(cast, policy)).step == Step.DONE
    assert database.works(stages(cast, secret)["current"] or "")


def test_a_policy_or_rotation_that_begins_between_question_and_write_wins(
    cast: Cast, generated: World
) -> None:
    secret = made_secret(cast, generated)
    actor = cast.principal(cast.alice)
    confirm = guard_write(actor=actor, secret=secret, value="by hand")
    policy = made_policy(cast, generated, secret=secret)
    with pytest.raises(StaleVersion):
        confirm()
    rotation = asked(cast, policy)
    with pytest.raises(ManagedValue):
        guard_write(actor=actor, secret=secret, value="by hand")
    operator_actions.abandon(actor=actor, rotation=rotation)


def test_a_policy_that_begins_before_the_write_is_stored_wins(
    cast: Cast, generated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = stored(made_secret(cast, generated))
    ordinary = versions.sealed_version

    def then(**named: Any) -> Any:
        made_policy(cast, generated, secret=secret)
        return ordinary(**named)

    monkeypatch.setattr(write, "sealed_version", then)
    with pytest.raises(StaleVersion, match="rotation policy"):
        write.update(actor=cast.principal(cast.alice), secret=secret, value="by hand", expected=secret.etag)
    assert stored(secret).current_number == 1


def test_a_policy_that_takes_the_place_of_the_one_that_was_asked_has_its_own_say(
    cast: Cast, mariadb: MariaDbWorld
) -> None:
    secret, alice = made_secret(cast, mariadb), cast.principal(cast.alice)
    policy = made_policy(cast, mariadb, secret=secret)
    confirm = guard_write(actor=alice, secret=secret, value=mariadb.current)
    policies.remove(actor=alice, policy=policy)
    with transaction.atomic():
        confirm()
    made_policy(cast, mariadb, secret=stored(secret))
    with pytest.raises(StaleVersion), transaction.atomic():
        confirm()
