"""What goes wrong on the server's side: each ends as docs/rotation.md says, and what is served stays untouched."""

import contextlib
import json
import threading
from collections.abc import Iterator

import pymysql
import pytest

from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.execution.runner import MAX_ATTEMPTS
from sync_app.rotation.policies import service as policies
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import (
    asked,
    grace_over,
    made_policy,
    made_secret,
    stages,
    waited,
    worked,
)
from sync_app.tests.rotation.processes.lines import Line
from sync_app.tests.rotators.worlds import DatabaseWorld

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.every_database_weekly,
    pytest.mark.parametrize("database", ["mariadb", "postgres"], indirect=True),
]


@pytest.fixture
def line(database: DatabaseWorld) -> Iterator[Line]:
    made = Line(database.port)
    yield made
    made.close()


def test_a_grant_that_b_lacks_stops_before_anything_is_served(cast: Cast, database: DatabaseWorld) -> None:
    secret = made_secret(cast, database)
    database.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, database, secret=secret)))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.TEST, True)
    assert "is not what the current login is" in rotation.problem
    assert stages(cast, secret)["current"] == database.current
    assert database.works(database.current)
    pending = stages(cast, secret)["pending"] or ""
    # An operator grants it and retries; the same value is served.
    database.grant_to_b_too()
    rotation = worked(operator_actions.retry(actor=cast.principal(cast.erin), rotation=rotation))
    assert (rotation.step, stages(cast, secret)["current"]) == (Step.GRACE, pending)


def test_what_was_set_and_never_served_is_made_useless_when_it_is_abandoned(
    cast: Cast, database: DatabaseWorld
) -> None:
    secret = made_secret(cast, database)
    database.grant_to_a_alone()
    policy = made_policy(cast, database, secret=secret)
    rotation = worked(asked(cast, policy))
    pending = stages(cast, secret)["pending"] or ""
    assert database.works(pending)
    rotation = worked(operator_actions.abandon(actor=cast.principal(cast.erin), rotation=rotation))
    assert (rotation.step, rotation.problem) == (Step.ABANDONED, "")
    assert stages(cast, secret) == {"current": database.current, "previous": None, "pending": None}
    assert database.works(database.current)
    assert not database.works(pending)
    database.grant_to_b_too()
    assert worked(asked(cast, policy)).step == Step.GRACE


def test_an_administrator_who_is_revoked_in_the_middle_is_replaced_and_it_goes_on(
    cast: Cast, database: DatabaseWorld
) -> None:
    secret = made_secret(cast, database)
    policy = made_policy(cast, database, secret=secret)
    rotation = worked(asked(cast, policy))
    database.set_password(database.administrator, "revoked")
    rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.RETIRE, True)
    for value in (stages(cast, secret)["current"], database.current):
        assert database.works(value or "")
    alice = cast.principal(cast.alice)
    credentials = {"username": database.administrator, "password": "revoked"}
    policies.change_connection(actor=alice, policy=policy, credentials=credentials)
    rotation = worked(operator_actions.retry(actor=alice, rotation=rotation))
    assert (rotation.step, rotation.problem) == (Step.DONE, "")
    assert not database.works(database.current)


def test_nothing_is_retired_while_the_served_login_is_refused(cast: Cast, database: DatabaseWorld) -> None:
    """Somebody changes the login in use during the grace: the previous one is then the last that works."""
    secret = made_secret(cast, database)
    rotation = worked(asked(cast, made_policy(cast, database, secret=secret)))
    served = stages(cast, secret)["current"] or ""
    database.set_password(json.loads(served)["username"], "somebody else's")
    rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.RETIRE, True)
    assert "the value that is served as current cannot log in" in rotation.problem
    assert database.works(database.current)
    assert stages(cast, secret)["previous"] == database.current
    # Put right, it goes on.
    database.set_password(json.loads(served)["username"], json.loads(served)["password"])
    rotation = worked(operator_actions.retry(actor=cast.principal(cast.erin), rotation=rotation))
    assert (rotation.step, rotation.problem) == (Step.DONE, "")
    assert not database.works(database.current)


def test_sessions_that_the_server_ends_need_no_person(cast: Cast, database: DatabaseWorld) -> None:
    """An administrator ends Keeper's sessions again and again (57P01): each attempt goes on from its step."""
    secret = made_secret(cast, database)
    rotation = asked(cast, made_policy(cast, database, secret=secret, grace_seconds=0))
    for _ in range(4):
        ended = threading.Event()
        killer = threading.Thread(target=end_sessions, args=(database, ended))
        killer.start()
        try:
            rotation = worked(waited(rotation))
        finally:
            ended.set()
            killer.join()
        assert rotation.stopped_at is None, rotation.problem
        assert database.works(stages(cast, secret)["current"] or "")
    for _ in range(3):
        rotation = worked(waited(rotation))
    assert (rotation.step, rotation.problem) == (Step.DONE, "")


def end_sessions(database: DatabaseWorld, ended: threading.Event) -> None:
    """End the sessions of the administrator and of both logins until told to stop."""
    names = [*database.users, database.administrator]
    while not ended.wait(0.01):
        if isinstance(database, MariaDbWorld):
            query = "SELECT id FROM information_schema.processlist WHERE user IN (%s, %s, %s)"
            for (number,) in database.execute(query, *names):
                with contextlib.suppress(pymysql.Error):
                    database.execute(f"KILL {number}")
        else:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN (%s, %s, %s)"
            database.execute(query, *names)


def test_a_server_that_is_down_for_a_while_is_waited_for_and_one_that_stays_down_stops_it(
    cast: Cast, database: DatabaseWorld, line: Line
) -> None:
    secret = made_secret(cast, database)
    settings = database.settings() | {"port": str(line.port)}
    policy = made_policy(cast, database, secret=secret, settings=settings)
    line.dead = True
    rotation = worked(asked(cast, policy))
    assert (rotation.step, rotation.stopped_at) == (Step.PREPARE, None)
    assert rotation.not_before is not None
    Rotation.objects.update(attempts=MAX_ATTEMPTS - 1)
    rotation = worked(waited(rotation))
    assert rotation.stopped_at is not None
    assert worked(waited(rotation)).attempts == MAX_ATTEMPTS
    line.dead = False
    rotation = worked(operator_actions.retry(actor=cast.principal(cast.erin), rotation=rotation))
    assert (rotation.step, rotation.problem) == (Step.GRACE, "")
    # Down at the end of the grace: the value before lives on until it is seen to be refused.
    line.dead = True
    rotation = worked(grace_over(rotation))
    assert (rotation.step, rotation.stopped_at) == (Step.RETIRE, None)
    assert database.works(stages(cast, secret)["current"] or "")
    line.dead = False
    assert worked(waited(rotation)).step == Step.DONE


def test_somebody_who_changes_the_idle_login_meanwhile_strands_nobody(
    cast: Cast, database: DatabaseWorld
) -> None:
    secret = made_secret(cast, database)
    database.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, database, secret=secret)))
    login = json.loads(stages(cast, secret)["pending"] or "")["username"]
    database.set_password(login, "somebody else's")
    database.grant_to_b_too()
    Rotation.objects.update(stopped_at=None)
    rotation = worked(rotation)
    # The pending value is refused: nothing is served. Retrying sets it once more.
    assert (rotation.step, rotation.stopped_at is not None) == (Step.TEST, True)
    assert stages(cast, secret)["current"] == database.current
    rotation = worked(operator_actions.retry(actor=cast.principal(cast.erin), rotation=rotation))
    assert rotation.step == Step.GRACE
    assert database.works(stages(cast, secret)["current"] or "")
