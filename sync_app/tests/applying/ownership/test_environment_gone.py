"""An environment with targets: Keeper does not delete it, and where SQL does, nothing is deleted at the targets."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction

from audit_app.errors import Unrecorded
from environments_app.tests.cast import Cast
from sync_app.jobs.leases import database_now
from sync_app.models import Run, Target
from sync_app.models.plan import PlanKind
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule
from sync_app.targets import service as targets
from sync_app.tests.applying.stage import Stage, target_in
from sync_app.tests.worlds import World

# What SQL takes away goes against the database's own constraints.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("world", ["vault"], indirect=True),
]


@pytest.fixture
def deleting(stage: Stage) -> Stage:
    stage.rules(deletion="recoverable", budget_number=100, budget_percent=100, conflict="keeper_wins")
    for name in ("one", "two"):
        stage.keep(name, "value")
    stage.sync()
    return stage


def in_use(stage: Stage) -> None:
    runs_runner.request_sync(actor=stage.alice, target=stage.fresh())


def removed(stage: Stage) -> None:
    stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"}))
    targets.remove(actor=stage.alice, target=stage.fresh())


@pytest.mark.parametrize("how", [in_use, removed])
def test_an_environment_that_has_or_had_a_target_stays(deleting: Stage, how: Callable[[Stage], None]) -> None:
    how(deleting)
    with pytest.raises(Unrecorded):
        deleting.environment.delete()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM environments_app_environment WHERE id = %s", [deleting.environment.pk])
    assert (deleting.theirs("one"), deleting.theirs("two")) == ("value", "value")


@pytest.mark.parametrize("taken", ["environments_app_environment", "sync_app_target"])
def test_what_sql_takes_away_deletes_nothing_and_holds_nobody_up(
    deleting: Stage, cast: Cast, world: World, taken: str
) -> None:
    world.destination |= {"prefix": f"{world.prefix}-other"}
    target_in(world, cast.production, actor=deleting.alice, automatic=True)
    deleting.drop("one")
    lost = runs_runner.request_sync(actor=deleting.alice, target=deleting.fresh())
    Target.objects.update(due_at=database_now())
    number = deleting.target.pk if taken == "sync_app_target" else deleting.environment.pk
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {taken} WHERE id = %s", [number])
    done = {}
    for _ in range(2):
        for run in schedule.queue_due():
            carried_out = runs_runner.execute(run)
            done[run] = carried_out.state if carried_out else ""
    if lost.pk not in done:
        assert runs_runner.execute(lost.pk) is None
    assert "done" in done.values()
    left = Run.objects.get(pk=lost.pk)
    assert (left.state, left.active, "is gone from the database" in left.error) == ("failed", None, True)
    assert (deleting.theirs("one"), deleting.theirs("two")) == ("value", "value")
