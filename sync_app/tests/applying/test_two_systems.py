"""Targets of one environment in two systems: what one of them brings reaches the other, and comes to rest."""

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.reconciliation import Direction
from sync_app.models import Run, Target
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule
from sync_app.tests.applying.stage import Stage

# Transactions that commit: a committed change is what brings a pass forward.
pytestmark = [pytest.mark.every_database_weekly, pytest.mark.django_db(transaction=True)]

# So many rounds of the schedule are more than anything here takes.
ROUNDS = 8


def pair(cast: Cast, vault: VaultWorld, aws: AwsWorld, **rules: str) -> tuple[Stage, Stage]:
    """Return automatic targets, which pass when something changes and not by time."""
    bao, amazon = (Stage(cast, each, automatic=True, interval_seconds=0, **rules) for each in (vault, aws))
    # The first pass, which each is due once it is made, is left to the tests.
    Target.objects.update(due_at=None)
    for stage in (bao, amazon):
        stage.target.refresh_from_db()
    return bao, amazon


def rest(*stages: Stage) -> int:
    """Let the schedule run until nothing is due any more, as workers do; return the number of passes."""
    before = Run.objects.count()
    for _ in range(ROUNDS):
        waiting = schedule.queue_due()
        if not waiting:
            return Run.objects.count() - before
        for run_id in waiting:
            for stage in stages:
                stage.world_rest()
            done = runs_runner.execute(run_id)
            assert done is not None
            assert done.state == "done", done.error
    raise AssertionError("the targets do not come to rest")


def test_what_one_system_brings_reaches_the_other(cast: Cast, vault: VaultWorld, aws: AwsWorld) -> None:
    bao, amazon = pair(cast, vault, aws)
    bao.rules(direction=Direction.BOTH)
    bao.edit("app/one", "from OpenBao")
    bao.sync()
    assert bao.value("app/one") == "from OpenBao"
    # What was pulled is a change, which brought the other target's pass forward.
    rest(bao, amazon)
    assert amazon.theirs("app/one") == "from OpenBao"
    bao.edit("app/one", "changed there")
    bao.sync()
    rest(bao, amazon)
    assert (bao.value("app/one"), amazon.theirs("app/one")) == ("changed there", "changed there")
    assert bao.world.labels(bao.path("app/one")) == {}
    assert (bao.sync().counts, amazon.sync().counts) == ({"unchanged": 1}, {"unchanged": 1})


def test_two_that_go_both_ways_do_not_loop(cast: Cast, vault: VaultWorld, aws: AwsWorld) -> None:
    bao, amazon = pair(cast, vault, aws, direction=Direction.BOTH)
    bao.edit("app/there", "from OpenBao")
    amazon.edit("app/here", "from AWS")
    bao.sync()
    amazon.sync()
    assert 1 <= rest(bao, amazon) <= ROUNDS
    assert (amazon.theirs("app/there"), bao.theirs("app/here")) == ("from OpenBao", "from AWS")
    versions = {name: bao.secret(name).current_number for name in ("app/there", "app/here")}
    assert versions == {"app/there": 1, "app/here": 1}
    assert (bao.sync().counts, amazon.sync().counts) == ({"unchanged": 2}, {"unchanged": 2})
    assert rest(bao, amazon) == 0


def test_two_that_pull_do_not_loop(cast: Cast, vault: VaultWorld, aws: AwsWorld) -> None:
    bao, amazon = pair(cast, vault, aws, direction=Direction.PULL)
    bao.edit("app/one", "from OpenBao")
    amazon.edit("app/one", "from AWS")
    bao.sync()
    # Which of them is right nobody can tell: the second one's is a conflict, and stays one.
    assert amazon.sync().counts == {"conflict": 1}
    for _ in range(3):
        assert (bao.sync().counts, amazon.sync().counts) == ({"unchanged": 1}, {"conflict": 1})
    assert rest(bao, amazon) == 0
    assert bao.secret("app/one").current_number == 1
    assert (bao.theirs("app/one"), amazon.theirs("app/one")) == ("from OpenBao", "from AWS")
