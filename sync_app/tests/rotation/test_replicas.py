"""A new value is served once every replica accepts it, or once the time that it takes to get there is over."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.errors import BadDestination, TargetUnreachable
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation
from sync_app.rotation.execution import runner
from sync_app.rotation.execution import session as execution_lease
from sync_app.rotation.execution.dry_run import run_dry_run
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret, stages, waited, worked
from sync_app.tests.rotation.processes.lines import Line
from sync_app.tests.rotators.worlds import DatabaseWorld
from tests.servers.postgresql import PASSWORD, SUPERUSER, Standby

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def line(database: DatabaseWorld) -> Iterator[Line]:
    made = Line(database.port)
    yield made
    made.close()


@pytest.fixture
def standby(postgres: PostgreSqlWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    server = Standby(tmp_path_factory.mktemp("servers"), primary=postgres.port)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.stop()


def at(server: Standby, statement: str) -> Any:
    with psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        user=SUPERUSER,
        password=PASSWORD,
        dbname="postgres",
        autocommit=True,
    ) as connection:
        return connection.execute(statement.encode()).fetchone()


def test_a_replica_that_lags_is_waited_for(cast: Cast, postgres: PostgreSqlWorld, standby: Standby) -> None:
    replicas = {
        "replicas": f"127.0.0.1:{standby.port}\n",
        "ca_certificate": postgres.ca.read_text() + (standby.directory / "ca.pem").read_text(),
    }
    policy = made_policy(cast, postgres, settings=postgres.settings() | replicas)
    findings = run_dry_run(actor=cast.principal(cast.erin), policy=policy).findings
    assert [(each.detail, each.fails) for each in findings if each.what == "replica"] == [
        (f"127.0.0.1:{standby.port}", False)
    ]
    at(standby, "SELECT pg_wal_replay_pause()")
    rotation = worked(asked(cast, policy))
    assert (rotation.step, rotation.stopped_at) == (Step.TEST, None)
    assert f"not accepted yet by the replica 127.0.0.1:{standby.port}" in rotation.problem
    assert stages(cast, policy.secret)["current"] == postgres.current
    assert postgres.works(stages(cast, policy.secret)["pending"] or "")
    at(standby, "SELECT pg_wal_replay_resume()")
    (wanted,) = postgres.execute("SELECT pg_current_wal_lsn()")[0]
    while not at(standby, f"SELECT pg_last_wal_replay_lsn() >= '{wanted}'::pg_lsn")[0]:
        time.sleep(0.05)
    assert worked(waited(rotation)).step == Step.GRACE


def test_a_replica_that_does_not_answer_is_named(cast: Cast, database: DatabaseWorld, line: Line) -> None:
    address = f"127.0.0.1:{line.port}"
    policy = made_policy(cast, database, settings=database.settings() | {"replicas": address})
    line.dead = True
    rotation = worked(asked(cast, policy))
    assert (rotation.step, rotation.stopped_at) == (Step.TEST, None)
    assert f"the replica {address}" in rotation.problem
    assert stages(cast, policy.secret)["current"] == database.current
    failed = [
        each for each in run_dry_run(actor=cast.principal(cast.erin), policy=policy).findings if each.fails
    ]
    assert any(each.what == "replica" and address in each.detail for each in failed)
    line.dead = False
    assert worked(waited(rotation)).step == Step.GRACE


def test_a_replica_that_went_away_after_the_test_is_noticed_before_it_is_served(
    cast: Cast, postgres: PostgreSqlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between test and promotion the worker ends, and the replica with it."""
    line = Line(postgres.port)
    address = f"127.0.0.1:{line.port}"
    policy = made_policy(cast, postgres, settings=postgres.settings() | {"replicas": address})
    rotation = asked(cast, policy)
    advance = execution_lease.RotationLease.advance

    def die_at_promote(self: Any, step: Step, **changes: Any) -> None:
        advance(self, step, **changes)
        if step is Step.PROMOTE:
            line.dead = True
            monkeypatch.setattr("sync_app.rotation.execution.session._PROVEN_SECONDS", -1.0)

    monkeypatch.setattr(execution_lease.RotationLease, "advance", die_at_promote)
    rotation = worked(rotation)
    assert (rotation.step, rotation.stopped_at) == (Step.PROMOTE, None)
    assert f"the replica {address}" in rotation.problem
    assert stages(cast, policy.secret)["current"] == postgres.current
    line.dead = False
    assert worked(waited(rotation)).step == Step.GRACE
    line.close()


def test_a_policy_with_a_replica_that_refuses_is_not_made(cast: Cast, database: DatabaseWorld) -> None:
    secret = made_secret(cast, database)
    for replicas, kind in (
        ("127.0.0.1:9", TargetUnreachable),
        ("a b", BadDestination),
        ("h:0", BadDestination),
    ):
        with pytest.raises(kind) as caught:
            made_policy(cast, database, secret=secret, settings=database.settings() | {"replicas": replicas})
        assert getattr(caught.value, "field", "replicas") == "replicas"


def test_the_time_to_reach_replicas_is_waited_also_after_a_worker_that_died(
    cast: Cast, postgres: PostgreSqlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        """The worker was killed."""

    def die(*_args: Any, **_options: Any) -> None:
        raise Died

    policy = made_policy(cast, postgres, settings=postgres.settings() | {"propagation_seconds": "600"})
    rotation = asked(cast, policy)
    # After the value was set, and before the worker let the rotation go.
    monkeypatch.setattr(execution_lease.RotationLease, "requeue", die)
    with pytest.raises(Died):
        runner.execute(rotation.pk)
    monkeypatch.undo()
    rotation = again(rotation)
    assert rotation.step == Step.TEST
    assert rotation.not_before is not None
    assert timedelta(seconds=590) < rotation.not_before - database_now() <= timedelta(seconds=600)
    Rotation.objects.update(lease_until=database_now() - timedelta(days=1))
    # Its lease is over, and the time is not.
    assert worked(rotation).step == Step.TEST
    assert stages(cast, policy.secret)["current"] == postgres.current
    assert worked(waited(rotation)).step == Step.GRACE


def test_a_longer_time_than_a_rotation_waits_is_refused(database: DatabaseWorld) -> None:
    for text in ("1201", "-1", "x"):
        with pytest.raises(BadDestination) as caught:
            database.rotator(propagation_seconds=text)
        assert caught.value.field == "propagation_seconds"


def test_slow_replicas_cost_no_lease(
    cast: Cast, postgres: PostgreSqlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each replica is tried the lease is short: many that answer late are no reason to lose it."""
    lines = [Line(postgres.port) for _ in range(3)]
    replicas = "\n".join(f"127.0.0.1:{line.port}" for line in lines)
    policy = made_policy(cast, postgres, settings=postgres.settings() | {"replicas": replicas})
    probe = postgres.kind._probe_at
    left = []

    def slow(self: Any, server: Any, value: str) -> Any:
        if server is not self.server:
            until = Rotation.objects.get().lease_until
            left.append(until - database_now() if until else timedelta())
            Rotation.objects.update(lease_until=database_now() + timedelta(seconds=1))
        return probe(self, server, value)

    rotation = asked(cast, policy)
    monkeypatch.setattr(postgres.kind, "_probe_at", slow)
    try:
        assert worked(rotation).step == Step.GRACE
    finally:
        for line in lines:
            line.close()
    assert len(left) >= 3
    assert min(left) > timedelta(seconds=20)
