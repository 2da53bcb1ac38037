"""An emergency waits for nothing, however far the rotation in front of it has come."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Slot, Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.models.run import Trigger
from sync_app.rotation.execution import operator_actions, schedule
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies.credentials import policy_principal
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import (
    again,
    asked,
    grace_over,
    made_policy,
    made_secret,
    stages,
    worked,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def emergency(cast: Cast, policy: RotationPolicy, **given: Any) -> Rotation:
    return request_rotation(actor=cast.principal(cast.alice), policy=policy, emergency=True, **given)


def closed_window() -> str:
    """Return a window that is closed today."""
    far = timezone.now() + timedelta(days=3)
    return f"{far:%a} 01:00-02:00".lower()


def test_it_leaves_no_grace_to_what_has_only_begun(cast: Cast, mariadb: MariaDbWorld) -> None:
    secret = made_secret(cast, mariadb)
    policy = made_policy(cast, mariadb, secret=secret)
    first = asked(cast, policy)
    second = emergency(cast, policy)
    assert (again(first).step, again(second).step) == (Step.PREPARE, Step.WAITING)
    assert worked(first).step == Step.DONE
    between = stages(cast, secret)["current"] or ""
    assert worked(second).step == Step.DONE
    served = stages(cast, secret)
    # Whatever was known is dead, and both logins have a new value.
    assert not mariadb.works(mariadb.current)
    assert not mariadb.works(between)
    assert mariadb.works(served["current"] or "")
    assert served["previous"] is None
    (cut,) = AuditEvent.objects.filter(action=Action.ROTATION_CUT, outcome="allowed")
    assert (cut.actor_name, '"why":"emergency"' in cut.details) == ("alice", True)


def test_a_worker_in_the_middle_loses_its_hold_and_the_next_one_leaves_no_grace(
    cast: Cast, mariadb: MariaDbWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = made_secret(cast, mariadb)
    policy = made_policy(cast, mariadb, secret=secret)
    first = asked(cast, policy)
    kind, seen = type(mariadb.rotator()), list[Rotation]()
    set_by_rotator = kind.set

    def set_and_hear_of_it(self: Any, *given: Any, **more: Any) -> str:
        value: str = set_by_rotator(self, *given, **more)
        if not seen:
            seen.append(emergency(cast, policy))
        return value

    monkeypatch.setattr(kind, "set", set_and_hear_of_it)
    execution_runner.execute(first.pk)
    assert again(first).step == Step.SET
    assert worked(first).step == Step.DONE
    assert worked(seen[0]).step == Step.DONE
    assert not mariadb.works(mariadb.current)
    assert mariadb.works(stages(cast, secret)["current"] or "")


def test_one_that_stopped_stays_stopped_and_leaves_none_once_it_goes_on(
    cast: Cast, mariadb: MariaDbWorld
) -> None:
    policy = made_policy(cast, mariadb)
    mariadb.grant_to_a_alone()
    first = worked(asked(cast, policy))
    assert (first.step, first.stopped_at is None) == (Step.TEST, False)
    emergency(cast, policy)
    assert (again(first).cut, again(first).stopped_at is None) == (True, False)
    mariadb.grant_to_b_too()
    first = worked(operator_actions.retry(actor=cast.principal(cast.erin), rotation=again(first)))
    assert first.step == Step.DONE


def test_whoever_died_before_saying_so_is_followed_by_the_schedule(
    cast: Cast, generated: GeneratedWorld
) -> None:
    policy = made_policy(cast, generated)
    first = worked(asked(cast, policy))
    second = emergency(cast, policy)
    forgotten = again(first)
    forgotten.cut = False
    forgotten.save()
    for rotation in schedule.queue_due():
        execution_runner.execute(rotation)
    assert again(first).step == Step.DONE
    for rotation in schedule.queue_due():
        execution_runner.execute(rotation)
    assert again(second).step == Step.DONE


def test_one_that_the_schedule_had_asked_for_waits_for_no_window(
    cast: Cast, generated: GeneratedWorld
) -> None:
    policy = made_policy(cast, generated, interval_seconds=3600, window=closed_window())
    first = worked(asked(cast, policy))
    by_schedule = request_rotation(actor=policy_principal(policy), policy=policy, trigger=Trigger.SCHEDULE)
    second = emergency(cast, policy)
    assert second.pk == by_schedule.pk
    assert worked(first).step == Step.DONE
    assert again(second).slot == Slot.WORKING
    assert worked(second).step == Step.DONE


def test_one_that_is_let_in_just_as_an_emergency_is_asked_for_stays_genuine(
    cast: Cast, generated: GeneratedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = made_policy(cast, generated, secret=made_secret(cast, generated))
    first = worked(asked(cast, policy))
    waiting = asked(cast, policy)
    may_begin = execution_runner._can_start

    def meanwhile(rotation: Rotation) -> bool:
        monkeypatch.setattr(execution_runner, "_can_start", may_begin)
        request_rotation(actor=cast.principal(cast.alice), policy=policy, emergency=True)
        return may_begin(rotation)

    monkeypatch.setattr(execution_runner, "_can_start", meanwhile)
    assert worked(grace_over(first)).step == Step.DONE
    # Whoever read it before that let nothing in; the schedule does.
    assert again(waiting).is_authentic()
    assert schedule.queue_due() == [waiting.pk]
    begun = worked(waiting)
    assert (begun.step, begun.emergency) == (Step.DONE, True)
