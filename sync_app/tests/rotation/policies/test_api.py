"""The API of rotation: what it answers, stages of a value, and what consumers confirm."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.tests.trail import sql
from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, stages, worked
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]
Bearer = Callable[..., Client]
POLICIES = "/api/environments/development/rotation-policies"


def post(client: Client, path: str, body: Any = None) -> Any:
    response = client.post(path, json.dumps(body or {}), content_type="application/json")
    return response.status_code, response.json()


def test_a_policy_is_made_tried_rotated_and_never_answers_a_credential(
    cast: Cast, mariadb: MariaDbWorld, bearer: Bearer
) -> None:
    secret = made_secret(cast, mariadb)
    manager = bearer("manager", cast.development)
    body = {
        "secret": secret.name,
        "rotator": "mysql",
        "settings": mariadb.settings(),
        "credentials": mariadb.admin(),
        "cron": "0 3 * * sun",
        "time_zone": "Europe/Berlin",
        "grace_seconds": 3600,
    }
    status, refused = post(manager, POLICIES, {**body, "credentials": {"username": "u", "password": "wrong"}})
    assert (status, RotationPolicy.objects.count()) == (502, 0)
    status, made = post(manager, POLICIES, body)
    assert (status, made["secret"], made["cron"], made["verified"]) == (201, "app/db", "0 3 * * sun", True)
    path = f"{POLICIES}/{made['id']}"
    assert post(manager, f"{path}/dry-run")[1]["ok"] is True
    status, rotation = post(manager, f"{path}/rotate", {"reason": "new colleague"})
    assert (status, rotation["step"]) == (202, "prepare")
    worked(Rotation.objects.get())
    listed = manager.get(f"{path}/rotations").json()
    told = json.dumps([refused, made, rotation, listed, manager.get(POLICIES).json()])
    assert mariadb.password not in told
    assert json.loads(stages(cast, secret)["current"] or "")["password"] not in told
    assert listed["results"][0]["acts"] == ["cut_grace", "roll_back"]
    assert post(manager, POLICIES, body)[0] == 409


def test_a_value_is_read_by_its_stage(cast: Cast, generated: World, bearer: Bearer) -> None:
    secret = made_secret(cast, generated)
    rotation = worked(asked(cast, made_policy(cast, generated, secret=secret)))
    reader, viewer = bearer("reader", cast.development), bearer("viewer", cast.development)
    held = stages(cast, secret)
    for path in (f"/api/secrets/{secret.pk}", "/api/environments/development/secrets/app/db"):
        for stage in ("current", "previous"):
            answer = reader.get(path, {"stage": stage}).json()
            assert (answer["stage"], answer["value"]) == (stage, held[stage])
        both = reader.get(path, {"stage": "both"}).json()["stages"]
        assert [(each["stage"], each["version"], each["value"]) for each in both] == [
            ("current", 2, held["current"]),
            ("previous", 1, held["previous"]),
        ]
        assert reader.get(path, {"stage": "pending"}).status_code == 404
        assert reader.get(path, {"stage": "AWSCURRENT"}).status_code == 400
        assert "value" not in viewer.get(path, {"stage": "previous"}).json()
    worked(grace_over(rotation))
    assert reader.get(path, {"stage": "previous"}).status_code == 404
    assert [each["stage"] for each in reader.get(path, {"stage": "both"}).json()["stages"]] == ["current"]


def test_the_slowest_consumer_keeps_the_previous_value_alive(
    cast: Cast, generated: World, bearer: Bearer
) -> None:
    secret = made_secret(cast, generated)
    policy = made_policy(cast, generated, secret=secret, waits_for_consumers=True)
    reader, path = bearer("reader", cast.development), f"/api/secrets/{secret.pk}/acknowledge"
    for instance in ("fast", "slow"):
        assert post(reader, path, {"version": 1, "instance": instance})[0] == 200
    rotation = worked(asked(cast, policy))
    assert post(reader, path, {"version": 2, "instance": "fast"})[0] == 200
    rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.problem) == (
        Step.GRACE,
        "waits for reader-token to confirm the current version",
    )
    said = reader.get(path).json()["results"]
    assert [(each["instance"], each["version"]) for each in said] == [("fast", 2), ("slow", 1)]
    assert post(reader, path, {"version": 2, "instance": "slow"})[0] == 200
    assert post(reader, path, {"version": 3})[0] == 404
    Rotation.objects.update(not_before=None)
    assert worked(rotation).step == Step.DONE


@pytest.mark.parametrize("edit", ["number = 2", "consumer_uuid = secret_id", "consumer_kind = 'system'"])
def test_a_word_that_was_changed_outside_keeper_confirms_nothing(
    cast: Cast, generated: World, bearer: Bearer, edit: str
) -> None:
    secret = made_secret(cast, generated)
    policy = made_policy(cast, generated, secret=secret, waits_for_consumers=True)
    reader, path = bearer("reader", cast.development), f"/api/secrets/{secret.pk}/acknowledge"
    assert post(reader, path, {"version": 1})[0] == 200
    rotation = worked(asked(cast, policy))
    sql(f"UPDATE sync_app_acknowledgement SET {edit}")
    rotation = worked(grace_over(rotation))
    assert rotation.problem == "waits for reader-token to confirm the current version"
    assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).exists()
    # Its own next word takes the place of what was only moved on.
    assert post(reader, path, {"version": 2})[0] == 200
    Rotation.objects.update(not_before=None)
    assert worked(rotation).step == (Step.DONE if edit == "number = 2" else Step.GRACE)


def test_an_instance_that_has_ended_is_not_waited_for_once_it_says_so(
    cast: Cast, generated: World, bearer: Bearer
) -> None:
    secret = made_secret(cast, generated)
    policy = made_policy(cast, generated, secret=secret, waits_for_consumers=True)
    reader, path = bearer("reader", cast.development), f"/api/secrets/{secret.pk}/acknowledge"
    for instance in ("pod-1", "pod-2"):
        assert post(reader, path, {"version": 1, "instance": instance})[0] == 200
    rotation = worked(grace_over(worked(asked(cast, policy))))
    assert rotation.step == Step.GRACE
    assert post(reader, path, {"version": 2, "instance": "pod-2"})[0] == 200
    # Nobody speaks for another one, and one that said nothing has nothing to take back.
    other = bearer("editor", cast.development)
    for client, instance in ((other, "pod-1"), (reader, "pod-9"), (reader, "")):
        assert client.delete(f"{path}?instance={instance}").status_code == 204
    assert [each["instance"] for each in reader.get(path).json()["results"]] == ["pod-1", "pod-2"]
    assert reader.delete(f"{path}?instance=pod-1").status_code == 204
    event = AuditEvent.objects.filter(action=Action.ROTATION_ACKNOWLEDGE).latest("id")
    assert (event.actor_name, '"withdrawn":true' in event.details) == ("reader-token", True)
    Rotation.objects.update(not_before=None)
    assert worked(rotation).step == Step.DONE
