"""Clocks that jump by a day, forward or back, the database's alone or everybody's: nobody is stranded."""

from datetime import timedelta
from functools import partial

import pytest

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.domain.rotation_state import Slot, Step
from sync_app.jobs.leases import LEASE, database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution import schedule
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.fixtures import Jump
from sync_app.tests.rotation.making import again, asked, grace_over, made_policy, made_secret, stages, worked
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
HOUR = 3600


def pass_by() -> None:
    """Let the schedule look several times, and workers do what it finds."""
    for _ in range(3):
        schedule.correct_future_due_times()
        for number in schedule.queue_due():
            execution_runner.execute(number)


def ended(secret: Secret, world: MariaDbWorld) -> None:
    """Let everything that goes on come to its end, and see that it is a good one."""
    for _ in range(6):
        for rotation in Rotation.objects.filter(slot=Slot.WORKING, step=Step.GRACE):
            grace_over(rotation)
        Rotation.objects.filter(slot=Slot.WORKING).update(not_before=None)
        RotationPolicy.objects.update(due_at=None)
        for number in schedule.queue_due():
            execution_runner.execute(number)
    assert not Rotation.objects.filter(slot__isnull=False).exists()
    assert set(Rotation.objects.values_list("step", flat=True)) == {Step.DONE}
    assert secret.versions.count() == Rotation.objects.count() + 1


@pytest.mark.parametrize("everybody", [False, True], ids=["database", "everybody"])
@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_jumps_inside_a_grace_and_back_again_strands_nobody(
    cast: Cast, mariadb: MariaDbWorld, jump: Jump, days: int, everybody: bool
) -> None:
    secret = made_secret(cast, mariadb)
    policy = made_policy(cast, mariadb, secret=secret, interval_seconds=HOUR, grace_seconds=HOUR)
    first = worked(asked(cast, policy))
    assert first.step == Step.GRACE
    jump(days, everybody=everybody)
    pass_by()
    first = again(first)
    assert mariadb.works(stages(cast, secret)["current"] or "")
    assert Rotation.objects.filter(slot=Slot.WORKING).count() == 1
    if days > 0:
        # A day late it is due once, not 24 times.
        assert Rotation.objects.count() == 2
    else:
        assert Rotation.objects.count() == 1
    if days > 0 and everybody:
        # A day has passed for everybody: the grace is over, and the next rotation has its own.
        assert (first.step, secret.versions.count()) == (Step.DONE, 3)
    else:
        # Where the clocks differ nothing is retired, and a clock that was put back lets a grace last.
        assert (first.step, secret.versions.count()) == (Step.GRACE, 2)
        assert ("clocks" in first.problem) == (days > 0)
        assert mariadb.works(mariadb.current)
    due_at = RotationPolicy.objects.get().due_at
    assert due_at is not None
    assert due_at <= database_now() + timedelta(seconds=HOUR)
    jump(0)
    pass_by()
    assert mariadb.works(stages(cast, secret)["current"] or "")
    # What was written down by the other clock is not waited for.
    due_at = RotationPolicy.objects.get().due_at
    assert due_at is not None
    assert due_at <= database_now() + timedelta(seconds=HOUR)
    ended(secret, mariadb)
    assert mariadb.works(stages(cast, secret)["current"] or "")
    assert not mariadb.works(mariadb.current)


@pytest.mark.parametrize("days", [1, -1])
def test_the_lease_of_a_dead_worker_and_the_next_attempt_do_not_outlast_a_jump(
    cast: Cast, generated: World, jump: Jump, days: int
) -> None:
    rotation = asked(cast, made_policy(cast, generated))
    held = {"lease_owner": "dead", "lease_until": database_now() + LEASE}
    Rotation.objects.filter(pk=rotation.pk).update(**held)
    work = partial(execution_runner.execute, rotation.pk)
    assert work() is None
    jump(days)
    done = work()
    assert (done and done.step) == Step.GRACE
    second = asked(cast, rotation.policy)
    grace_over(rotation)
    jump(0)
    worked(rotation)
    Rotation.objects.filter(pk=second.pk).update(not_before=database_now() + timedelta(minutes=10))
    assert execution_runner.execute(second.pk) is None
    jump(days)
    done = execution_runner.execute(second.pk)
    assert (done and done.step) == Step.GRACE
