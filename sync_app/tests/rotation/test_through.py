"""A rotation from beginning to end, with each rotator: what is served at each stage, and what is recorded."""

import pytest
from prometheus_client import REGISTRY

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.errors import Forbidden, Invisible, Tampered
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.domain.rotation_state import Step
from sync_app.errors import LoginRefused, RotationConflict
from sync_app.models import Rotation
from sync_app.rotation.execution import operator_actions, steps
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.execution.session import RotationSession
from sync_app.tests.rotation.making import (
    asked,
    grace_over,
    made_policy,
    made_secret,
    stages,
    stored,
    waited,
    worked,
)
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def test_current_and_previous_both_work_until_the_grace_is_over(cast: Cast, world: World) -> None:
    secret = made_secret(cast, world)
    policy = made_policy(cast, world, secret=secret)
    rotation = worked(asked(cast, policy))
    assert (rotation.step, rotation.problem) == (Step.GRACE, "")
    held = stages(cast, secret)
    assert held["previous"] == world.current
    assert held["pending"] is None
    assert held["current"] not in {None, world.current}
    assert world.works(held["current"] or "")
    assert world.works(world.current)
    rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.slot, rotation.problem) == (Step.DONE, None, "")
    after = stages(cast, secret)
    assert after == {"current": held["current"], "previous": None, "pending": None}
    assert world.works(held["current"] or "")
    if world.kind.supports_probe:
        assert not world.works(world.current)
    assert Secret.objects.get().current_number == 2
    assert not list(verify())


def test_the_next_rotation_gives_the_first_login_back(cast: Cast, logins: World) -> None:
    secret = made_secret(cast, logins)
    policy = made_policy(cast, logins, secret=secret, grace_seconds=0)
    seen = [logins.current]
    for _ in range(2):
        rotation = worked(asked(cast, policy))
        assert (rotation.step, rotation.problem) == (Step.DONE, "")
        seen.append(stages(cast, secret)["current"] or "")
    assert [logins.works(value) for value in seen] == [False, False, True]


def test_one_asked_for_inside_a_grace_waits_and_two_are_one(cast: Cast, world: World) -> None:
    policy = made_policy(cast, world)
    first = worked(asked(cast, policy))
    second = asked(cast, policy)
    assert asked(cast, policy).pk == second.pk
    assert (worked(second).step, Rotation.objects.count()) == (Step.WAITING, 2)
    assert worked(grace_over(first)).step == Step.DONE
    # The end of the first let it in.
    assert worked(second).step == Step.GRACE
    assert Secret.objects.get().current_number == 3


def test_rolling_back_serves_the_value_before_and_retires_the_new_one(cast: Cast, world: World) -> None:
    secret = made_secret(cast, world)
    rotation = worked(asked(cast, made_policy(cast, world, secret=secret)))
    new = stages(cast, secret)["current"]
    rotation = operator_actions.roll_back(actor=cast.principal(cast.erin), rotation=rotation)
    assert stages(cast, secret) == {"current": world.current, "previous": new, "pending": None}
    assert world.works(new or "")
    rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.problem) == (Step.ROLLED_BACK, "")
    assert world.works(world.current)
    if world.kind.supports_probe:
        assert not world.works(new or "")
    with pytest.raises(RotationConflict):
        operator_actions.roll_back(actor=cast.principal(cast.erin), rotation=rotation)


def test_a_rotation_is_counted_once_and_timed_until_its_value_is_served(cast: Cast, generated: World) -> None:
    def counted() -> tuple[float, float]:
        labels = {"rotator": "generated", "outcome": "done"}
        ended = REGISTRY.get_sample_value("keeper_rotations_total", labels) or 0.0
        return ended, REGISTRY.get_sample_value("keeper_rotation_seconds_count") or 0.0

    ended, served = counted()
    rotation = worked(asked(cast, made_policy(cast, generated)))
    assert counted() == (ended, served + 1)
    worked(worked(grace_over(rotation)))
    assert counted() == (ended + 1, served + 1)


def test_who_may_ask_decide_and_see(cast: Cast, generated: World) -> None:
    policy = made_policy(cast, generated)
    for user, refusal in ((cast.bob, Forbidden), (cast.vera, Forbidden), (cast.charlie, Invisible)):
        with pytest.raises(refusal):
            request_rotation(actor=cast.principal(user), policy=policy)
    rotation = worked(asked(cast, policy))
    with pytest.raises(Forbidden):
        operator_actions.end_grace(actor=cast.principal(cast.erin), rotation=rotation)
    rotation = operator_actions.end_grace(actor=cast.principal(cast.alice), rotation=rotation)
    assert worked(rotation).step == Step.DONE
    assert AuditEvent.objects.filter(action=Action.ROTATION_RUN, outcome="denied").count() == 3


def test_what_stopped_in_its_grace_is_tried_again_and_waits_for_targets_as_before(
    cast: Cast, generated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_secret: Secret) -> str:
        raise Tampered("An entry was changed outside Keeper.")

    secret = made_secret(cast, generated)
    rotation = worked(asked(cast, made_policy(cast, generated, secret=secret)))
    with monkeypatch.context() as while_damaged:
        while_damaged.setattr(steps, "explain_lag", damaged)
        rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.GRACE, True)
    rotation = operator_actions.retry(actor=cast.principal(cast.erin), rotation=rotation)
    with monkeypatch.context() as while_behind:
        while_behind.setattr(steps, "explain_lag", lambda _secret: "first to hold the current version")
        rotation = worked(rotation)
    assert (rotation.step, rotation.stopped_at) == (Step.GRACE, None)
    assert rotation.problem == "waits for first to hold the current version"
    assert worked(waited(rotation)).step == Step.DONE


def test_the_value_before_ends_only_after_the_served_one_has_logged_in(
    cast: Cast, generated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation = worked(asked(cast, made_policy(cast, generated)))
    assert rotation.step == Step.GRACE
    tried: list[int] = []

    def refused(self: RotationSession, number: int, *, what: str, **_known: bool) -> None:
        tried.append(number)
        raise LoginRefused(f"{what} cannot log in")

    with monkeypatch.context() as patched:
        patched.setattr(RotationSession, "require_login", refused)
        held_up = worked(grace_over(rotation))
    assert held_up.step == Step.RETIRE
    secret = stored(held_up.policy.secret)
    assert tried == [secret.current_number]
    assert secret.previous_number is not None
