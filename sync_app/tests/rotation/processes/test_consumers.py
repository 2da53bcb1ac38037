"""Consumers while the schedule rotates: at no statement of a worker does one meet a refused login."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from audit_app.tests.trail import take_away
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import read
from sync_app.domain.rotation_state import Slot, Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution import schedule
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, stored
from sync_app.tests.rotators.worlds import DatabaseWorld

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # On MariaDB the other kind of login goes the same way through Keeper's statements.
    pytest.mark.parametrize(
        "database",
        [
            pytest.param("mariadb", marks=pytest.mark.every_database),
            pytest.param("postgres", marks=pytest.mark.every_database_weekly),
        ],
        indirect=True,
    ),
]


class Consumers:
    """One that reads the current value each time, and one that stays one version behind in every grace."""

    def __init__(self, cast: Cast, database: DatabaseWorld, secret: Secret) -> None:
        self._cast, self._database, self._secret = cast, database, secret
        self._values: dict[int, str] = {}
        self._busy = False
        self.logins = 0

    @contextmanager
    def beside_a_worker(self) -> Iterator[None]:
        """Have both log in before each statement of a worker, wherever what it wrote is committed."""

        def statement(execute: Any, *asked: Any) -> Any:
            if not self._busy and not connection.in_atomic_block:
                self.log_in()
            return execute(*asked)

        with connection.execute_wrapper(statement):
            yield

    def log_in(self) -> None:
        self._busy = True
        try:
            secret = stored(self._secret)
            self._use(secret, secret.current_number)
            in_grace = Rotation.objects.filter(slot=Slot.WORKING, step=Step.GRACE, stopped_at=None)
            if secret.previous_number is not None and in_grace.exists():
                self._use(secret, secret.previous_number)
        finally:
            self._busy = False

    def _use(self, secret: Secret, number: int) -> None:
        if number not in self._values:
            actor = self._cast.principal(self._cast.bob)
            self._values[number] = read.reveal(actor=actor, secret=secret, number=number).value
        assert self._database.works(self._values[number]), f"version {number} was refused"
        self.logins += 1

    def value(self, number: int) -> str:
        return self._values[number]


def rotate_by_schedule() -> None:
    """Let the policy be due, and workers do what there is to do."""
    RotationPolicy.objects.update(due_at="2026-01-01T00:00:00Z")
    for number in schedule.queue_due():
        execution_runner.execute(number)


def check(cast: Cast, database: DatabaseWorld, *, rotations: int) -> None:
    secret = made_secret(cast, database)
    policy = made_policy(cast, database, secret=secret, interval_seconds=3600, grace_seconds=3600)
    consumers = Consumers(cast, database, secret)
    for turn in range(1, rotations + 1):
        with consumers.beside_a_worker():
            rotate_by_schedule()
            working = Rotation.objects.get(slot=Slot.WORKING)
            assert working.step == Step.GRACE
            # A second one inside the grace waits until it ends.
            waiting = asked(cast, policy)
            assert execution_runner.execute(waiting.pk) is None
            assert (waiting.step, stored(secret).current_number) == (Step.WAITING, turn + 1)
            take_away(Rotation.objects.filter(pk=waiting.pk))
        consumers.log_in()
        old = consumers.value(turn)
        grace_over(working)
        execution_runner.execute(working.pk)
        consumers.log_in()
        assert Rotation.objects.get(pk=working.pk).step == Step.DONE
        # After the grace it is proven dead.
        assert not database.works(old)
    assert consumers.logins > 30 * rotations


def test_consumers_never_meet_a_refused_login_while_the_schedule_rotates(
    cast: Cast, database: DatabaseWorld
) -> None:
    check(cast, database, rotations=2)


@pytest.mark.torture
def test_they_do_not_in_many_rotations_either(cast: Cast, database: DatabaseWorld) -> None:
    check(cast, database, rotations=25)
