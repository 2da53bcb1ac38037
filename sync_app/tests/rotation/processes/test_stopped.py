"""A worker that is asked to stop leaves a rotation between two steps, as if it had not tried the next one."""

import pytest

from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.jobs import leases as jobs_leases
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import ROTATE
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret, worked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def test_a_rotation_is_left_between_two_steps(
    cast: Cast, generated: GeneratedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(execution_runner, "nudge", lambda task, rotation: sent.append((task, rotation)))
    rotation = asked(cast, made_policy(cast, generated, secret=made_secret(cast, generated)))
    with monkeypatch.context() as stops:
        stops.setattr(jobs_leases, "_shutdown_requested", True)
        worked(rotation)
    left = again(rotation)
    assert left.step == Step.SET
    assert (left.lease_owner, left.lease_until, left.not_before) == ("", None, None)
    assert (left.attempts, left.problem) == (0, "")
    assert sent == [(ROTATE, rotation.pk)]
    assert worked(left).promoted_at is not None
