"""A login that an abandoned rotation leaves valid is told of, and ended: by hand, or by the next rotation first."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.domain.rotation_state import Slot, Step
from sync_app.errors import RotationConflict
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.policies import service as policies
from sync_app.rotators.aws_iam.rotator import AwsIam
from sync_app.rotators.aws_iam.tests.world import IamWorld
from sync_app.rotators.base import Fence, PendingCredential
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret, stages, waited, worked
from sync_app.tests.rotators.worlds import DatabaseWorld, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def settled(rotation: Rotation) -> Rotation:
    """Let a worker look until the rotation ends or waits for its grace: AWS takes a while to know a key."""
    for _ in range(5):
        rotation = worked(waited(rotation))
        if rotation.has_ended or rotation.step == Step.GRACE:
            break
    return rotation


def given_up(cast: Cast, rotation: Rotation, step: Step) -> Rotation:
    """Return a rotation that stopped at its last step, and was abandoned there."""
    row = again(rotation)
    row.step, row.stopped_at = step, timezone.now()
    row.save()
    return operator_actions.abandon(actor=cast.principal(cast.erin), rotation=again(rotation))


def begun(cast: Cast, world: World) -> tuple[Secret, Rotation]:
    secret = made_secret(cast, world)
    rotation = settled(asked(cast, made_policy(cast, world, secret=secret)))
    assert rotation.step == Step.GRACE
    return secret, rotation


def test_the_next_rotation_ends_it_before_anything_else(cast: Cast, world: World) -> None:
    secret, rotation = begun(cast, world)
    left = given_up(cast, rotation, Step.RETIRE)
    assert (left.step, left.leaves, left.left_number) == (Step.ABANDONED, "retire", 1)
    if world.kind.supports_probe:
        assert world.works(world.current)
    current = stages(cast, secret)["current"]
    second = settled(asked(cast, rotation.policy))
    assert (second.step, second.problem) == (Step.GRACE, "")
    assert again(left).leaves == ""
    assert stages(cast, secret)["previous"] == current
    if world.kind.supports_probe:
        assert not world.works(world.current)
        assert world.works(current or "")
        assert world.works(stages(cast, secret)["current"] or "")


def test_it_is_told_and_ended_by_hand(
    cast: Cast, database: DatabaseWorld, signed_in: Callable[..., Client], bearer: Callable[..., Client]
) -> None:
    secret, rotation = begun(cast, database)
    left = given_up(cast, rotation, Step.RETIRE)
    page = f"/rotation/{rotation.policy_id}"
    erin = signed_in(cast.erin)
    shown = " ".join(erin.get(page).content.decode().split())
    assert "The login of v1 may still be valid" in shown
    assert "Retire now" in shown
    on_secret = " ".join(erin.get(f"/secrets/{secret.pk}").content.decode().split())
    assert "the login of v1 may still be valid" in on_secret
    # A viewer is told, and may not.
    seen = " ".join(signed_in(cast.vera).get(page).content.decode().split())
    assert "The login of v1 may still be valid" in seen
    assert "Retire now" not in seen
    api = f"/api/environments/development/rotations/{left.pk}"
    told = bearer("editor", cast.development).get(api).json()
    assert (told["acts"], told["left_valid"]) == (["retire"], 1)
    assert database.works(database.current)
    assert erin.post(f"/rotation/rotations/{left.pk}/retire").status_code == 302
    assert worked(left).step == Step.DONE
    assert not database.works(database.current)
    assert database.works(stages(cast, secret)["current"] or "")
    assert stages(cast, secret)["previous"] is None
    assert "still valid" not in erin.get(page).content.decode()
    with pytest.raises(RotationConflict):
        operator_actions.retire(actor=cast.principal(cast.erin), rotation=again(left))


def test_what_was_never_served_and_could_not_be_withdrawn_is_ended_as_well(
    cast: Cast, database: DatabaseWorld
) -> None:
    secret = made_secret(cast, database)
    database.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, database, secret=secret)))
    pending = stages(cast, secret)["pending"] or ""
    left = given_up(cast, rotation, Step.WITHDRAW)
    assert database.works(pending)
    assert stages(cast, secret)["pending"] is None
    operator_actions.retire(actor=cast.principal(cast.erin), rotation=left)
    assert worked(left).step == Step.ABANDONED
    assert again(left).leaves == ""
    assert not database.works(pending)
    assert database.works(database.current)


def test_another_rotation_or_another_value_goes_first(cast: Cast, generated: World) -> None:
    _, rotation = begun(cast, generated)
    left = given_up(cast, rotation, Step.RETIRE)
    second = asked(cast, rotation.policy)
    with pytest.raises(RotationConflict):
        operator_actions.retire(actor=cast.principal(cast.erin), rotation=left)
    # Given up before its first act, it ended nothing.
    operator_actions.abandon(actor=cast.principal(cast.erin), rotation=second)
    assert again(left).leaves == "retire"
    # Whoever removes the policy leaves that behind, and the trail says so.
    policies.remove(actor=cast.principal(cast.alice), policy=rotation.policy)
    (removed,) = AuditEvent.objects.filter(action=Action.ROTATION_REMOVE)
    assert parsed_details(removed.details)["left_valid"] == 1
    # Nobody has the administrator's credential any more.
    with pytest.raises(RotationConflict, match="removed"):
        operator_actions.retire(actor=cast.principal(cast.erin), rotation=again(left))


def test_of_two_who_begin_at_the_same_moment_one_waits_or_is_told_to_look_again(
    cast: Cast, generated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, rotation = begun(cast, generated)
    left = given_up(cast, rotation, Step.RETIRE)
    exists = QuerySet.exists
    monkeypatch.setattr(QuerySet, "exists", lambda rows: rows.model is not Rotation and exists(rows))
    begun_first = asked(cast, rotation.policy)
    assert (begun_first.step, begun_first.slot) == (Step.PREPARE, Slot.WORKING)
    with pytest.raises(RotationConflict, match="changed meanwhile"):
        operator_actions.retire(actor=cast.principal(cast.erin), rotation=again(left))
    assert again(left).leaves == "retire"
    second = asked(cast, rotation.policy)
    assert (second.step, second.slot) == (Step.WAITING, Slot.WAITING)
    assert again(second).is_authentic()


def test_a_key_that_comes_after_its_rotation_was_given_up_is_not_left_at_aws(
    cast: Cast, iam: IamWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = made_secret(cast, iam)
    rotation = asked(cast, made_policy(cast, iam, secret=secret))
    makes = AwsIam.set

    def slowly(self: AwsIam, pending: PendingCredential, *, current: str, fence: Fence) -> str:
        fence.require_held()
        # Given up while AWS is asked for the key, and carried on to its end by another worker.
        monkeypatch.setattr(AwsIam, "set", makes)
        operator_actions.abandon(actor=cast.principal(cast.erin), rotation=again(rotation))
        with monkeypatch.context() as in_another_process:
            in_another_process.setattr("sync_app.jobs.leases._reserved", set())
            assert worked(rotation).step == Step.ABANDONED
        return makes(self, pending, current=current, fence=replace(fence, is_held=lambda: True))

    monkeypatch.setattr(AwsIam, "set", slowly)
    worked(rotation)
    assert iam.key_ids() == [json.loads(iam.current)["AccessKeyId"]]
    assert iam.works(iam.current)
    assert stages(cast, secret) == {"current": iam.current, "previous": None, "pending": None}


def test_it_is_not_left_behind_where_the_policy_moves_from(cast: Cast, mariadb: MariaDbWorld) -> None:
    _, rotation = begun(cast, mariadb)
    left = given_up(cast, rotation, Step.RETIRE)

    def moved(**settings: str) -> RotationPolicy:
        return policies.change_connection(
            actor=cast.principal(cast.alice),
            policy=again(rotation).policy,
            credentials=mariadb.admin(),
            settings=settings,
        )

    with pytest.raises(RotationConflict, match="left a login valid"):
        moved(host="localhost", tls="verify-ca")
    # How the server proves who it is may change meanwhile: retiring may need it.
    moved(tls="verify-ca")
    operator_actions.retire(actor=cast.principal(cast.erin), rotation=again(left))
    assert worked(left).step == Step.DONE
    assert moved(host="localhost").endpoint.startswith("mysql://localhost:")
