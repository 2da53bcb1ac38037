"""The fence of a rotation: it holds as long as an act can end before another worker may claim the rotation."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.errors import LeaseLost
from sync_app.jobs.leases import LEASE, database_now
from sync_app.models import Rotation
from sync_app.rotation.execution.session import FENCE_SECONDS, RotationLease, claim
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import asked, made_policy, stages, worked
from sync_app.tests.rotators.worlds import DatabaseWorld

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


@pytest.fixture
def lease(cast: Cast) -> RotationLease:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    held = claim(rotation.pk, owner="worker")
    assert held is not None
    return held


def left(seconds: float) -> None:
    """Let a lease have so much time left, as after a pause of the worker."""
    Rotation.objects.update(lease_until=database_now() + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "holds"),
    [
        (LEASE.total_seconds(), True),
        (FENCE_SECONDS + 5, True),
        # The act may take as long as the fence allows: with less it ends under another worker's lease.
        (FENCE_SECONDS - 1, False),
        (1, False),
        (0, False),
        (-1, False),
    ],
)
def test_a_fence_holds_while_the_whole_act_fits_into_the_lease(
    lease: RotationLease, seconds: float, holds: bool
) -> None:
    fence = lease.create_fence()
    fence.require_held()
    left(seconds)
    assert fence.is_held() is holds
    if not holds:
        with pytest.raises(LeaseLost):
            fence.require_held()


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda: Rotation.objects.update(epoch=99),
        lambda: Rotation.objects.update(lease_owner="another"),
        lambda: Rotation.objects.update(step=Step.SET),
        lambda: Rotation.objects.update(stopped_at=database_now()),
        lambda: Rotation.objects.update(lease_owner="", lease_until=None),
    ],
    ids=["claimed", "owned", "advanced", "stopped", "released"],
)
def test_a_fence_falls_with_whatever_changes_the_rotation(
    lease: RotationLease, meanwhile: Callable[[], object]
) -> None:
    fence = lease.create_fence()
    meanwhile()
    assert not fence.is_held()


@pytest.mark.parametrize("database", ["mariadb", "postgres"], indirect=True)
def test_a_worker_that_was_paused_before_its_statement_changes_no_login(
    cast: Cast, database: DatabaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes up with less of its lease than the act may take, while it holds the lock on the server."""
    policy = made_policy(cast, database)
    rotation = asked(cast, policy)
    is_held = RotationLease._is_held

    def paused(self: RotationLease) -> bool:
        left(FENCE_SECONDS - 1)
        return is_held(self)

    monkeypatch.setattr(RotationLease, "_is_held", paused)
    assert worked(rotation).step == Step.SET
    monkeypatch.undo()
    assert database.works(database.current)
    assert not database.works(stages(cast, policy.secret)["pending"] or "")
