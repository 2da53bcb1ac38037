from datetime import timedelta

import pytest
from django.utils import timezone

from environments_app.tests.cast import Cast
from sync_app.models import Rotation
from sync_app.rotation import policies, schedule
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
    assert schedule.due() == []
    assert schedule.bring_forward(asked) == 1
    assert len(schedule.due()) == 1
    assert Rotation.objects.get().policy == made["every-day"]
    made["every-day"].refresh_from_db()
    assert made["every-day"].due_at is not None
    assert made["every-day"].due_at > timezone.now() + timedelta(hours=12)
