from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from environments_app.tests.cast import Cast
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import schedule
from sync_app.rotation.policies import service as policies
from sync_app.tests.rotation.making import made_policy, made_secret
from sync_app.tests.rotators.worlds import World


@pytest.mark.every_database
def test_policies_with_a_cadence_rotate_soon_and_no_others(cast: Cast, generated: World) -> None:
    made = {
        name: made_policy(cast, generated, secret=made_secret(cast, generated, name=name), **rules)
        for name, rules in {
            "every-day": {"interval_seconds": 86400},
            "by-hand": {},
            "asleep": {"interval_seconds": 86400},
            "not-asked": {"interval_seconds": 86400},
        }.items()
    }
    policies.suspend(actor=cast.principal(cast.alice), policy=made["asleep"])
    asked = [made[name].secret.uuid for name in ("every-day", "by-hand", "asleep")]
    assert schedule.queue_due() == []
    assert schedule.bring_forward(asked) == {made["every-day"].secret.uuid}
    assert len(schedule.queue_due()) == 1
    assert Rotation.objects.get().policy == made["every-day"]
    made["every-day"].refresh_from_db()
    assert made["every-day"].due_at is not None
    assert made["every-day"].due_at > timezone.now() + timedelta(hours=12)


@pytest.mark.every_database
def test_what_is_due_stays_due_if_the_rotation_could_not_be_queued(
    cast: Cast, generated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = made_policy(cast, generated, interval_seconds=90 * 24 * 3600)
    RotationPolicy.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    busy = OperationalError(1205, "Lock wait timeout exceeded")
    with monkeypatch.context() as waits:
        waits.setattr(schedule, "request_rotation", Mock(side_effect=busy))
        with pytest.raises(OperationalError):
            schedule.queue_due()
    assert schedule.queue_due() == [Rotation.objects.get(policy=policy).pk]
    # Once it is queued the next one is due an interval later.
    assert list(schedule.due_policies(timezone.now() + timedelta(days=89))) == []
