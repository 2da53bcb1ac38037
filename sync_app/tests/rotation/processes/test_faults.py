"""Whatever goes wrong at whatever point: what is served as current logs in, and it ends with one new version.

The line to the server is cut or loses a reply, and workers die at any statement of theirs, several
times in one rotation. A worker that dies does nothing more: neither in Keeper nor on the server.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from sync_app.domain.rotation_state import Slot, Step
from sync_app.models import Rotation
from sync_app.rotation.execution import runner as execution_runner
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret, stages, waited
from sync_app.tests.rotation.processes.lines import Fault, Line
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

# No rotation sends more often, nor asks Keeper's database more often, between its beginning and its end.
SENDS, STATEMENTS = 60, 160


class Died(BaseException):
    """The worker was killed."""


@dataclass(frozen=True)
class Trouble:
    """What happens to one worker: on the line, and at one of its statements."""

    fault: Fault | None = None
    at: int = 0
    deadly: bool = False
    statement: int = 0


troubles = st.lists(
    st.one_of(
        st.builds(Trouble, st.sampled_from(Fault), st.integers(1, SENDS), st.booleans()),
        st.builds(Trouble, statement=st.integers(1, STATEMENTS)),
    ),
    min_size=2,
    max_size=5,
)


class Stage:
    """A policy whose rotator reaches its server by the line; each example is one more rotation of it."""

    def __init__(self, cast: Cast, database: DatabaseWorld, line: Line) -> None:
        self.cast, self.database, self.line = cast, database, line
        self.secret = made_secret(cast, database)
        settings_ = database.settings() | {"port": str(line.port)}
        self.policy = made_policy(cast, database, secret=self.secret, settings=settings_, grace_seconds=0)
        self.current = database.current

    def rotate(self, planned: list[Trouble]) -> None:
        versions = SecretVersion.objects.count()
        rotation = asked(self.cast, self.policy)
        for trouble in [*planned, Trouble()]:
            self._work(rotation, trouble)
            held = stages(self.cast, self.secret)
            assert self.database.works(held["current"] or ""), trouble
            step = Step(again(rotation).step)
            if step is Step.GRACE:
                assert self.database.works(held["previous"] or ""), trouble
            waited(rotation)
        ended = again(rotation)
        assert (ended.step, ended.problem) == (Step.DONE, "")
        assert SecretVersion.objects.count() == versions + 1
        assert self.database.works(stages(self.cast, self.secret)["current"] or "")
        assert not self.database.works(self.current)
        self.current = stages(self.cast, self.secret)["current"] or ""

    def _work(self, rotation: Rotation, trouble: Trouble) -> None:
        self.line.arm(trouble.fault, trouble.at, deadly=trouble.deadly)
        try:
            with self._mortal(trouble.statement):
                execution_runner.execute(rotation.pk)
        except Died:
            pass
        finally:
            self.line.arm(None)

    @contextmanager
    def _mortal(self, dies_at: int) -> Iterator[None]:
        """Let a worker die at one of its statements, or at the first one after its line went dead."""
        count = 0

        def statement(execute: Any, *asked: Any) -> Any:
            nonlocal count
            count += 1
            if self.line.dead or count == dies_at:
                self.line.dead = True
                raise Died
            return execute(*asked)

        with connection.execute_wrapper(statement):
            yield


@pytest.fixture
def line(database: DatabaseWorld) -> Iterator[Line]:
    made = Line(database.port)
    yield made
    made.close()


def check(cast: Cast, database: DatabaseWorld, line: Line, *, examples: int) -> None:
    stage = Stage(cast, database, line)

    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        database=None,
        # What one example leaves behind is where the next one begins: none is tried again.
        phases=(Phase.generate,),
    )
    @given(planned=troubles)
    def rotates(planned: list[Trouble]) -> None:
        stage.rotate(planned)

    rotates()
    assert not Rotation.objects.filter(slot=Slot.WORKING).exists()
    assert not list(verify())
    assert Secret.objects.get(pk=stage.secret.pk).pending_number is None


def test_a_few_troubles(cast: Cast, database: DatabaseWorld, line: Line) -> None:
    check(cast, database, line, examples=3)


@pytest.mark.torture
def test_many_troubles(cast: Cast, database: DatabaseWorld, line: Line) -> None:
    check(cast, database, line, examples=150)
    assert line.fired > 50
