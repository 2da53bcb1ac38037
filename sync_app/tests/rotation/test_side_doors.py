"""No side door: whatever writes a value under a policy is refused, or has to log in first."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from environments_app.second_person import standing
from environments_app.tests.cast import Cast
from secrets_app import lifecycle, transfer, writing
from secrets_app.errors import ManagedValue, StaleVersion
from secrets_app.input_errors import InvalidInput
from secrets_app.models import Secret
from secrets_app.secret_types import SecretType
from sync_app import pulling
from sync_app.models import PlanItem, Target
from sync_app.rotation import acts, policies
from sync_app.rotation.guard import guard
from sync_app.rotation.states import Step
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, stages, stored, worked
from sync_app.tests.rotators.worlds import DatabaseWorld, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def pull(cast: Cast, secret: Secret, value: str) -> None:
    target = Target(uuid=uuid4(), environment=cast.development, name="elsewhere")
    version = secret.versions.get(number=secret.current_number).uuid.hex
    item = PlanItem(name=secret.name, keeper_version=version)
    alice = cast.principal(cast.alice)
    clearance = standing(alice, cast.development)
    pulling.take(actor=alice, target=target, item=item, value=value, clearance=clearance)


def put(cast: Cast, secret: Secret, value: str) -> None:
    place = secret.environment
    writing.put(actor=cast.principal(cast.alice), environment=place, name=secret.name, value=value)


DOORS: dict[str, Callable[[Cast, Secret, str], object]] = {
    "put": put,
    "pull": pull,
    "update": lambda cast, secret, value: writing.update(
        actor=cast.principal(cast.alice), secret=secret, value=value, expected=secret.etag
    ),
    "retype": lambda cast, secret, _: writing.update(
        actor=cast.principal(cast.alice), secret=secret, value="1234567890", secret_type=SecretType.PASSWORD
    ),
    "rollback": lambda cast, secret, _: writing.rollback(
        actor=cast.principal(cast.alice), secret=secret, number=1
    ),
    "delete": lambda cast, secret, _: lifecycle.delete(actor=cast.principal(cast.alice), secret=secret),
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
        assert Secret.objects.filter(live=True).count() == 1
        if not ended:
            rotation = worked(grace_over(rotation))
    # What says nothing of the value is open to editors as ever, and so is everything without a policy.
    writing.update(actor=cast.principal(cast.alice), secret=stored(secret), description="the app's")
    policies.remove(actor=cast.principal(cast.alice), policy=policy)
    DOORS[door](cast, stored(secret), "written by hand")


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
    confirm = guard(actor=actor, secret=secret, value="by hand")
    policy = made_policy(cast, generated, secret=secret)
    with pytest.raises(StaleVersion):
        confirm()
    rotation = asked(cast, policy)
    with pytest.raises(ManagedValue):
        guard(actor=actor, secret=secret, value="by hand")
    acts.abandon(actor=actor, rotation=rotation)
