"""What stops, waits or is late is told once, and told to be over when it is, however it ended."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from audit_app.models import AuditEvent
from environments_app.models import Alert
from environments_app.tests.cast import Cast
from secrets_app.services import lifecycle
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation import status
from sync_app.rotation.execution.operator_actions import retry
from sync_app.rotation.policies import service as policies
from sync_app.rotation.status import LATE, OVERDUE, STOPPED, WAITS, alert_overdue
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret, stored, worked
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def test_what_stops_is_told_and_what_goes_on_again_is_told_too(cast: Cast, mariadb: MariaDbWorld) -> None:
    secret = made_secret(cast, mariadb)
    mariadb.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, mariadb, secret=secret, grace_seconds=0)))
    alert = Alert.objects.get(kind=STOPPED, open=True)
    assert "is not what the current login is" in alert.lines[0]
    assert json.loads(mariadb.current)["password"] not in json.dumps(alert.lines)
    mariadb.grant_to_b_too()
    assert worked(retry(actor=cast.principal(cast.erin), rotation=rotation)).step == Step.DONE
    assert not Alert.objects.filter(open=True).exists()


def test_what_waits_for_days_is_told(cast: Cast, generated: World) -> None:
    policy = made_policy(cast, generated)
    worked(asked(cast, policy))
    second = asked(cast, policy)
    alert_overdue()
    assert not Alert.objects.exists()
    Rotation.objects.filter(pk=second.pk).update(queued_at="2026-01-01T00:00:00Z")
    alert_overdue()
    alert_overdue()
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject) == (WAITS, "development, app/db: the rotation waits")
    # It is carried on with after all.
    Rotation.objects.filter(pk=second.pk).update(queued_at=timezone.now())
    alert_overdue()
    assert not Alert.objects.filter(open=True).exists()


def test_a_grace_that_should_have_ended_days_ago_is_told(cast: Cast, generated: World) -> None:
    rotation = worked(asked(cast, made_policy(cast, generated)))
    assert rotation.step == Step.GRACE
    for hours, told in ((20, False), (28, True), (-1, False)):
        ends = timezone.now() - timedelta(hours=hours)
        Rotation.objects.filter(pk=rotation.pk).update(grace_until=ends)
        alert_overdue()
        assert Alert.objects.filter(kind=WAITS, open=True).exists() is told


def late(policy: RotationPolicy) -> None:
    """Let a policy's rotation be overdue, and tell of it."""
    RotationPolicy.objects.filter(pk=policy.pk).update(due_at=timezone.now() - LATE - timedelta(hours=1))
    alert_overdue()
    assert Alert.objects.get(open=True).kind == OVERDUE


def test_nothing_is_overdue_any_more_under_a_policy_that_is_suspended_or_removed(
    cast: Cast, generated: World
) -> None:
    alice, policy = cast.principal(cast.alice), made_policy(cast, generated)
    late(policy)
    alert_overdue()
    assert Alert.objects.filter(open=True).exists()
    policies.suspend(actor=alice, policy=policy)
    alert_overdue()
    assert not Alert.objects.filter(open=True).exists()
    policies.resume(actor=alice, policy=RotationPolicy.objects.get(pk=policy.pk))
    late(policy)
    policies.remove(actor=alice, policy=RotationPolicy.objects.get(pk=policy.pk))
    alert_overdue()
    alert_overdue()
    assert not Alert.objects.filter(open=True).exists()
    over = AuditEvent.objects.filter(action="rotation.alert", details__contains='"kind":"recovered"')
    assert over.count() == 2


def test_what_stopped_is_over_although_its_worker_died_before_it_could_say_so(
    cast: Cast, mariadb: MariaDbWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = made_secret(cast, mariadb)
    mariadb.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, mariadb, secret=secret, grace_seconds=0)))
    retry(actor=cast.principal(cast.erin), rotation=rotation)
    alert_overdue()
    assert Alert.objects.get(open=True).kind == STOPPED
    mariadb.grant_to_b_too()
    monkeypatch.setattr(status, "update_after_work", lambda _rotation: None)
    assert worked(rotation).step == Step.DONE
    assert Alert.objects.filter(open=True).exists()
    alert_overdue()
    assert not Alert.objects.filter(open=True).exists()


def test_what_stopped_is_told_although_its_worker_died_before_it_could_say_so(
    cast: Cast, mariadb: MariaDbWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = made_secret(cast, mariadb)
    mariadb.grant_to_a_alone()
    policy = made_policy(cast, mariadb, secret=secret, grace_seconds=0)
    with monkeypatch.context() as dying:
        dying.setattr(status, "update_after_work", lambda _rotation: None)
        rotation = worked(asked(cast, policy))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.TEST, True)
    alert_overdue()
    alert = Alert.objects.get(open=True)
    assert (alert.kind, "is not what the current login is" in alert.lines[0]) == (STOPPED, True)
    # The worker's own word is no news then.
    status.update_after_work(rotation)
    alert_overdue()
    assert AuditEvent.objects.filter(action="rotation.alert").count() == 1


def test_what_stopped_is_over_once_its_value_is_served_however_long_the_grace(
    cast: Cast, mariadb: MariaDbWorld
) -> None:
    secret = made_secret(cast, mariadb)
    mariadb.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, mariadb, secret=secret)))
    assert Alert.objects.get(open=True).kind == STOPPED
    mariadb.grant_to_b_too()
    rotation = worked(retry(actor=cast.principal(cast.erin), rotation=rotation))
    alert_overdue()
    assert (rotation.step, Alert.objects.filter(open=True).exists()) == (Step.GRACE, False)
    # One that fails in its grace stays told of as long as it does.
    Rotation.objects.update(attempts=status._ATTEMPTS, problem="the keyring is not available")
    status.update_after_work(again(rotation))
    alert_overdue()
    assert Alert.objects.get(open=True).kind == STOPPED


def test_what_was_told_of_a_policy_is_over_although_its_secret_was_purged(
    cast: Cast, generated: World
) -> None:
    alice, secret = cast.principal(cast.alice), made_secret(cast, generated)
    policy = made_policy(cast, generated, secret=secret)
    late(policy)
    policies.remove(actor=alice, policy=RotationPolicy.objects.get(pk=policy.pk))
    lifecycle.delete(actor=alice, secret=stored(secret))
    lifecycle.purge(actor=alice, secret=stored(secret))
    alert_overdue()
    assert not Alert.objects.filter(open=True).exists()
