"""Which migrations a worker takes up, how long it holds one, and what it notes of one that fails."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.tests.cast import Cast
from secrets_app.errors import KeyUnavailable
from secrets_app.keys.encrypted_field import Sealed
from sync_app.errors import LeaseLost, PermissionMissing, ShutdownRequested
from sync_app.jobs.leases import LEASE, database_now
from sync_app.migration import engine
from sync_app.models import Migration, SourceCredentials
from sync_app.models.migration import MigrationState
from sync_app.tests.migration.driving import work
from sync_app.tests.migration.memory import Memory, apply, start

pytestmark = [pytest.mark.every_database, pytest.mark.usefixtures("memory")]

Events = Callable[..., list[AuditEvent]]
SOON, LATELY = timedelta(minutes=1), timedelta(minutes=-1)


@pytest.mark.parametrize(
    ("state", "due", "leased", "is_due"),
    [
        (MigrationState.PLANNING, None, None, True),
        (MigrationState.APPLYING, LATELY, None, True),
        # What waits for its next attempt, or its next look, waits.
        (MigrationState.PLANNING, SOON, None, False),
        (MigrationState.FOLLOWING, SOON, None, False),
        (MigrationState.FOLLOWING, LATELY, None, True),
        (MigrationState.FOLLOWING, None, None, False),
        # Another worker has it, or had it too long ago.
        (MigrationState.APPLYING, None, SOON, False),
        (MigrationState.APPLYING, None, LATELY, True),
        # What waits for a person is for no worker.
        (MigrationState.PLANNED, LATELY, None, False),
        (MigrationState.PAUSED, LATELY, None, False),
        (MigrationState.FAILED, LATELY, None, False),
        (MigrationState.STOPPED, LATELY, None, False),
    ],
)
def test_a_worker_takes_up_what_is_due(
    cast: Cast, state: str, due: timedelta | None, leased: timedelta | None, is_due: bool
) -> None:
    migration, now = start(cast), database_now()
    Migration.objects.filter(pk=migration.pk).update(
        state=state,
        due_at=now + due if due else None,
        lease_until=now + leased if leased else None,
    )
    assert engine.due_ids() == ([migration.pk] if is_due else [])
    assert (engine.execute(migration.pk) is not None) is is_due


def test_a_worker_that_is_asked_to_stop_gives_it_back_and_counts_no_attempt(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = start(cast)
    Migration.objects.filter(pk=migration.pk).update(attempts=3)

    def stop() -> None:
        raise ShutdownRequested("the worker stops")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "raise_if_shutdown_requested", stop)
        work(migration)
    found = (migration.state, migration.error, migration.attempts, migration.lease_owner, migration.due_at)
    assert found == (MigrationState.PLANNING, "", 0, "", None)
    # The next one need not wait.
    assert engine.due_ids() == [migration.pk]
    assert work(migration).state == MigrationState.PLANNED


def test_a_lease_that_was_not_renewed_in_time_ends_the_work(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, began = engine.MigrationLease(start(cast), "this worker"), time.monotonic()
    later = SimpleNamespace(monotonic=lambda: began + LEASE.total_seconds() - 1)
    monkeypatch.setattr(engine, "time", later)
    lease.require_unexpired()
    later.monotonic = lambda: began + LEASE.total_seconds() + 1
    with pytest.raises(LeaseLost, match="ran out"):
        lease.require_unexpired()


def refuse(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    def paths(_self: Memory, _place: str) -> Iterator[str]:
        raise PermissionMissing(why)

    monkeypatch.setattr(Memory, "paths", paths)


def test_a_long_reason_is_cut_where_it_is_stored(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "x" * 600)
    migration = work(start(cast))
    assert (migration.state, migration.error) == (MigrationState.FAILED, "x" * 500)


def test_a_failure_is_on_record_as_of_what_failed(
    cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    monkeypatch.setattr(engine, "is_active", lambda: False)
    assert work(migration).state == MigrationState.FAILED
    assert (migration.due_at, migration.attempts, engine.due_ids()) == (None, 0, [])
    (failed,) = events(Action.MIGRATION_APPLY, outcome="failed")
    assert "is not active" in parsed_details(failed.details)["error"]


def test_without_its_credentials_it_asks_for_new_ones(cast: Cast) -> None:
    migration = start(cast)
    SourceCredentials.objects.all().delete()
    assert work(migration).state == MigrationState.FAILED
    assert "Start the migration again with new ones" in migration.error


def test_credentials_that_do_not_open_are_on_record(
    cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = start(cast)

    def closed(*_: Any) -> bytes:
        raise KeyUnavailable("the key is gone", permanent=True)

    monkeypatch.setattr(Sealed, "open", closed)
    assert work(migration).state == MigrationState.FAILED
    (failed,) = events(Action.MIGRATION_CONNECT, outcome="failed")
    assert parsed_details(failed.details)["reason"] == "KeyUnavailable"
