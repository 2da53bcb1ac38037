"""A rotation whose row was changed outside Keeper does nothing, and no act of Keeper's makes it genuine."""

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.errors import Tampered
from environments_app.tests.cast import Cast
from secrets_app.errors import StaleVersion
from secrets_app.services import write
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation
from sync_app.rotation.execution import operator_actions, steps
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.session import RotationSession
from sync_app.rotation.execution.steps import StepWait
from sync_app.rotation.policies import service as policies
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.runs import row_checks
from sync_app.tests.rotation.making import (
    again,
    asked,
    grace_over,
    made_policy,
    made_secret,
    stages,
    stored,
    worked,
)
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]

MONTH = 30 * 24 * 3600


def in_its_grace(cast: Cast, world: World) -> Rotation:
    policy = made_policy(cast, world, secret=made_secret(cast, world), grace_seconds=MONTH)
    rotation = worked(asked(cast, policy))
    assert rotation.step == Step.GRACE
    return rotation


def forged(rotation: Rotation, **columns: object) -> Rotation:
    """Change a row as somebody does who can write to the database."""
    Rotation.objects.filter(pk=rotation.pk).update(**columns)
    return again(rotation)


@pytest.mark.parametrize("columns", [{"cut": True}, {"step": Step.RETIRE}], ids=["cut", "retire"])
def test_stopping_it_does_not_make_it_genuine(
    cast: Cast, generated: World, columns: dict[str, object]
) -> None:
    rotation = in_its_grace(cast, generated)
    before = stages(cast, rotation.policy.secret)
    stopped = worked(forged(rotation, **columns))
    assert stopped.stopped_at is not None
    assert "changed outside Keeper" in stopped.problem
    assert len(list(row_checks.rotations())) == 1
    with pytest.raises(Tampered):
        operator_actions.retry(actor=cast.principal(cast.erin), rotation=forged(stopped, step=Step.RETIRE))
    worked(forged(stopped, stopped_at=None))
    assert stages(cast, rotation.policy.secret) == before


def test_what_is_read_again_in_the_middle_is_asked_again_whether_it_is_genuine(
    cast: Cast, generated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation = grace_over(in_its_grace(cast, generated))

    def meanwhile(session: RotationSession) -> StepWait | None:
        monkeypatch.setattr(execution_runner, "run_steps", steps.run_steps)
        forged(rotation, emergency=True)
        raise StaleVersion("somebody described the secret anew")

    monkeypatch.setattr(execution_runner, "run_steps", meanwhile)
    before = stages(cast, rotation.policy.secret)
    stopped = worked(rotation)
    assert (stopped.stopped_at is not None, stopped.is_authentic()) == (True, False)
    assert stages(cast, rotation.policy.secret) == before


def test_it_ends_with_its_policy_and_nothing_is_done_elsewhere(cast: Cast, generated: World) -> None:
    rotation = in_its_grace(cast, generated)
    before = stages(cast, rotation.policy.secret)
    stopped = worked(forged(rotation, cut=True))
    policies.remove(actor=cast.principal(cast.alice), policy=stopped.policy)
    ended = again(rotation)
    assert (ended.step, ended.slot, ended.allowed_actions) == (Step.ABANDONED, None, frozenset())
    assert list(row_checks.rotations()) == []
    assert stages(cast, rotation.policy.secret) == before
    event = AuditEvent.objects.filter(action=Action.ROTATION_RESOLVE).latest("pk")
    told = parsed_details(event.details)
    assert (event.actor_name, told["forged"], told["from"]) == ("alice", True, Step.GRACE)
    assert told["may_be_valid"] == [1]
    secret = stored(rotation.policy.secret)
    write.update(actor=cast.principal(cast.alice), secret=secret, value="written by hand")


def test_what_it_left_pending_is_in_no_other_policys_way(cast: Cast, mariadb: MariaDbWorld) -> None:
    secret = made_secret(cast, mariadb)
    mariadb.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, mariadb, secret=secret)))
    pending = stages(cast, secret)["pending"] or ""
    policies.remove(actor=cast.principal(cast.alice), policy=forged(rotation, login="root").policy)
    # Its login still has it: nobody was asked to change that.
    assert mariadb.works(pending)
    assert stages(cast, secret)["pending"] is None
    mariadb.grant_to_b_too()
    assert worked(asked(cast, made_policy(cast, mariadb, secret=stored(secret)))).step == Step.GRACE
