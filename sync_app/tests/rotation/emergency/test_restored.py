"""After a restore, a login whose password was rotated since the backup is named."""

import json
from datetime import UTC, datetime

import pytest

from audit_app.events import actors
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from sync_app.domain.rotation_state import OperatorAction, Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import operator_actions, schedule
from sync_app.runs.restore_suspension import POLICIES, rotated_since
from sync_app.tests.rotation.making import asked, made_policy, made_secret, stages, stored, worked
from sync_app.tests.rotators.worlds import DatabaseWorld, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_restored_value_that_its_login_refuses_is_named(cast: Cast, logins: World) -> None:
    secret = made_secret(cast, logins)
    policy = made_policy(cast, logins, secret=secret, grace_seconds=0)
    worked(asked(cast, policy))
    POLICIES.suspend(actor=actors.system(), at=AT, states={})
    assert list(rotated_since(AT)) == []
    restored = Secret.objects.get()
    restored.current_number = 1
    restored.save()
    (line,) = rotated_since(AT)
    assert line == "development: app/db was rotated since the backup: its login refuses the restored value"


def test_what_was_under_way_waits_with_its_policy(cast: Cast, generated: World) -> None:
    from audit_app.integrity.active_installation import activate, note_restore

    rotation = asked(cast, made_policy(cast, generated))
    assert schedule.queue_due() == [rotation.pk]
    note_restore(backup=rotation.uuid, at=AT)
    activate(actor=actors.system())
    POLICIES.suspend(actor=actors.system(), at=AT, states={})
    assert schedule.queue_due() == []
    POLICIES.release(actor=cast.principal(cast.root), uuid=RotationPolicy.objects.get().uuid, since=AT)
    assert schedule.queue_due() == list(Rotation.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("act", [OperatorAction.RETRY, OperatorAction.ABANDON])
def test_what_was_under_way_changes_no_login_that_was_served_since_the_backup(
    cast: Cast, database: DatabaseWorld, act: OperatorAction
) -> None:
    secret = made_secret(cast, database)
    database.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, database, secret=secret)))
    assert rotation.step == Step.TEST
    # It is a restored backup: a later rotation, lost with the rest, had made B the login in use and ended A.
    user_a, user_b = database.users
    served = json.dumps({**json.loads(database.current), "username": user_b, "password": "since"})
    database.set_password(user_a, "nobody knows")
    database.set_password(user_b, "since")
    erin = cast.principal(cast.erin)
    rotation = worked(operator_actions.DECISIONS[act](actor=erin, rotation=rotation))
    assert database.works(served)
    assert (rotation.stopped_at is not None, "cannot log in" in rotation.problem) == (True, True)
    # Whoever has the value from a consumer gives the rotation up, and writes it down.
    while not rotation.has_ended:
        rotation = worked(operator_actions.abandon(actor=erin, rotation=rotation))
    write.update(actor=erin, secret=stored(secret), value=served)
    assert stages(cast, secret)["current"] == served
    database.grant_to_b_too()
    assert worked(asked(cast, rotation.policy)).step == Step.GRACE
    assert database.works(served)
    assert database.works(stages(cast, secret)["current"] or "")
