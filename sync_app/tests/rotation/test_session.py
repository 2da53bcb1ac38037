"""A claim opens the credentials once, reads the new value from the database, and repeats no fresh login."""

from collections import Counter
from typing import Any

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.rotation.execution import session as rotation_session
from sync_app.rotators.base import LoginProbe
from sync_app.tests.rotation.making import asked, grace_over, made_policy, stages, worked
from sync_app.tests.rotators.worlds import World

pytestmark = pytest.mark.django_db(transaction=True)


def openings() -> int:
    return AuditEvent.objects.filter(action=Action.ROTATION_CONNECT).count()


@pytest.fixture
def probes(mariadb: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the logins by the value that is tried."""
    counted: Counter[str] = Counter()
    before = mariadb.kind.probe

    def probe(self: Any, value: str) -> LoginProbe:
        counted[value] += 1
        return before(self, value)

    monkeypatch.setattr(mariadb.kind, "probe", probe)
    return counted


def test_a_rotation_opens_its_credentials_three_times(
    cast: Cast, mariadb: World, probes: Counter[str]
) -> None:
    policy = made_policy(cast, mariadb)
    begun = openings()
    probes.clear()
    rotation = worked(asked(cast, policy))
    assert rotation.step == Step.GRACE
    # The served value, and the new one as it is stored.
    assert openings() - begun == 2
    assert sorted(probes.values()) == [1, 1]
    values = stages(cast, policy.secret)
    assert probes[str(values["current"])] == probes[str(values["previous"])] == 1
    assert worked(grace_over(rotation)).step == Step.DONE
    assert openings() - begun == 3


def test_a_login_that_is_not_fresh_is_tried_again(
    cast: Cast, mariadb: World, probes: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = made_policy(cast, mariadb)
    probes.clear()
    monkeypatch.setattr(rotation_session, "_PROVEN_SECONDS", -1.0)
    assert worked(asked(cast, policy)).step == Step.GRACE
    assert sorted(probes.values()) == [2, 2]
