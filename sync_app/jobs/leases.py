"""Leases on runs, in the database's time: one worker at a time, and none forever; and when to try again.

A claim is a conditional UPDATE that also raises the run's epoch. A worker with an older epoch detects it at
its next write, which changes nothing.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from core.db import statements
from core.db.concurrency import claim as claim_row
from core.db.concurrency import is_away, is_collision, retry_collisions, unleased
from sync_app.errors import LeaseLost, RunOverdue, ShutdownRequested
from sync_app.models import Run
from sync_app.models.run import RunState

_RESUME_SECONDS: Final = 0.1
T = TypeVar("T")
_shutdown_requested = False


def raise_if_shutdown_requested() -> None:
    """Raise ShutdownRequested if the worker was asked to stop."""
    if _shutdown_requested:
        raise ShutdownRequested("the worker stops: another carries this on")


def is_shutdown_requested() -> bool:
    """Return whether the worker was asked to stop; never in a process that is no worker."""
    return _shutdown_requested


@worker_shutting_down.connect
def _note_shutdown(**_signal: object) -> None:
    # In a handler of a signal: whatever takes a lock could wait for itself.
    global _shutdown_requested  # noqa: PLW0603 - what happens to the process as a whole
    _shutdown_requested = True


LEASE: Final = timedelta(seconds=60)
LONGEST_WAIT: Final = timedelta(minutes=10)
_FIRST_DELAY_SECONDS: Final = 2.0
_RENEW_AFTER_SECONDS: Final = 15.0
_OVER_AFTER_SECONDS: Final = LEASE.total_seconds()
# As `Lease._rows` has it: Django would compose it at each renewal.
_EXTEND: Final = (
    "UPDATE sync_app_run SET lease_until=%s WHERE id=%s AND epoch=%s AND lease_owner=%s AND state=%s"
)
_CLOCKS: Final = {"mysql": "SELECT UTC_TIMESTAMP(6)", "sqlite": "SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'now')"}


def database_now() -> datetime:
    """Return the time of the database, by which all workers go."""
    with connection.cursor() as cursor:
        cursor.execute(_CLOCKS[connection.vendor])
        (now,) = cursor.fetchone()
    moment: datetime = datetime.fromisoformat(now) if isinstance(now, str) else now
    return moment.replace(tzinfo=UTC)


def claimable(now: datetime) -> Q:
    """Return the condition on runs that no worker holds and that may be worked on now.

    What is later than it can be was written before the clock was put back.
    """
    due = Q(not_before__isnull=True) | Q(not_before__lte=now) | Q(not_before__gt=now + LONGEST_WAIT)
    return Q(active=True, state__in=[RunState.QUEUED, RunState.RUNNING]) & unleased(now, LEASE) & due


def claim(run_id: int, *, owner: str) -> "Lease | None":
    """Take a run that is free; None if there is nothing to take. Of any number who try, one gets it."""
    now = database_now()
    run = claim_row(
        Run.objects.all(),
        run_id,
        claimable(now),
        state=RunState.RUNNING,
        lease_owner=owner,
        lease_until=now + LEASE,
        epoch=F("epoch") + 1,
        attempts=F("attempts") + 1,
        started_at=Coalesce("started_at", Value(now)),
    )
    if run is None:
        return None
    # A clock that was put back since then takes no time from the run.
    spent = max((now - (run.started_at or now)).total_seconds(), 0)
    return Lease(run_id, run.epoch, owner, seconds=settings.KEEPER_SYNC_RUN_SECONDS - spent)


class Lease:
    """The hold on one run; every write of its worker goes through `renew`.

    It is renewed as often as it takes, but not beyond the time that a run has altogether.
    """

    def __init__(self, run_id: int, epoch: int, owner: str, *, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._run_id = run_id
        self._epoch = epoch
        self._owner = owner
        self._renewed = time.monotonic()

    def renew(self, **changes: object) -> None:
        """Renew the lease, and change the run's other columns; in a transaction, its row stays locked.

        Raises LeaseLost if another worker has claimed the run, or it has ended.
        """
        until = database_now() + LEASE
        changed = self._rows().update(lease_until=until, **changes) if changes else self._extend(until)
        if not changed:
            raise LeaseLost("another worker carries this run on")
        self._renewed = time.monotonic()

    def ends_within(self, wait: timedelta) -> bool:
        """Return whether the time of the whole run is over after a wait."""
        return self._ends - time.monotonic() <= wait.total_seconds()

    def require_unexpired(self) -> None:
        """Raise LeaseLost if the lease was not renewed in time, RunOverdue if the run has had all of its own.

        Asks the clock alone, in any thread.
        """
        if self.ends_within(timedelta()):
            hours = settings.KEEPER_SYNC_RUN_SECONDS / 3600
            raise RunOverdue(f"the run did not end within {hours:.3g} hours: the next one goes on from there")
        if time.monotonic() - self._renewed > _OVER_AFTER_SECONDS:
            raise LeaseLost("the lease ran out: another worker may carry this run on")

    def heartbeat(self) -> None:
        """Renew the lease if some time has passed since it last was. Raises LeaseLost, RunOverdue."""
        if self.ends_within(timedelta()):
            self.require_unexpired()
        if time.monotonic() - self._renewed > _RENEW_AFTER_SECONDS:
            self.renew()

    def heartbeat_or_stop(self) -> None:
        """Renew the lease as `heartbeat` does, where work may stop. Raises LeaseLost, ShutdownRequested."""
        raise_if_shutdown_requested()
        self.heartbeat()

    def end(self, state: RunState, *, error: str = "") -> None:
        now = database_now()
        self._give_up(state=state, active=None, error=error, finished_at=now)

    def requeue(self, *, not_before: datetime | None, error: str = "") -> None:
        """Let the run wait, for the first worker after that time. Raises LeaseLost."""
        self._give_up(state=RunState.QUEUED, not_before=not_before, error=error)

    def release(self, **changes: object) -> None:
        """Let the run wait for the next worker, as if this one had not tried. Raises LeaseLost."""
        self._give_up(state=RunState.QUEUED, attempts=Greatest(F("attempts"), 1) - 1, **changes)

    def _give_up(self, **changes: object) -> None:
        if not self._rows().update(lease_owner="", lease_until=None, **changes):
            raise LeaseLost("another worker carries this run on")

    def _extend(self, until: datetime) -> int:
        """Change nothing but the end of the lease, as most writes do; return how many rows that were."""
        database = connections[DEFAULT_DB_ALIAS]
        moment = Run._meta.get_field("lease_until").get_db_prep_save(until, database)
        values = [moment, self._run_id, self._epoch, self._owner, RunState.RUNNING.value]
        changed, _ = statements.write(database, _EXTEND, values)
        return changed

    def _rows(self) -> QuerySet[Run]:
        # The owner too: a claim and the reading of its epoch are two statements.
        return Run.objects.filter(
            pk=self._run_id, epoch=self._epoch, lease_owner=self._owner, state=RunState.RUNNING
        )


def retry_delay(attempts: int) -> timedelta:
    """Return how long to wait before the next attempt: doubling, bounded, with jitter."""
    seconds = min(LONGEST_WAIT.total_seconds(), _FIRST_DELAY_SECONDS * 2 ** min(attempts, 20))
    return timedelta(seconds=seconds * secrets.SystemRandom().uniform(0.5, 1.0))


@contextmanager
def fenced(lease: Lease | None, **changes: object) -> Iterator[None]:
    """Run the block in a transaction of the worker that still holds its lease, if it has one.

    Raises LeaseLost, before anything of the block.
    """
    with transaction.atomic():
        if lease:
            lease.renew(**changes)
        yield


def resume(work: Callable[[], T], *, attempts: int = 5) -> T:
    """Do a worker's work, and go on at once where it lost a transaction or its host of the database.

    The work claims its lease, and releases it before it raises (`released_if_lost`). Raises as `work` does.
    """
    for attempt in range(1, attempts):
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            if not is_lost(error):
                raise
        time.sleep(_RESUME_SECONDS * attempt)
    return work()


@contextmanager
def released_if_lost(release: Callable[[], None]) -> Iterator[None]:
    """Release the lease if the block loses a transaction, so that nobody waits until it is over."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if is_lost(error):
            connection.close_if_unusable_or_obsolete()
            retry_collisions(release)
        raise


def is_lost(error: Exception) -> bool:
    """Return whether another writer, or a host that went away, ended a transaction: the work may go on."""
    return is_away(error) or (isinstance(error, OperationalError) and is_collision(error))


_reserving: Final = threading.Lock()
_reserved: Final[set[tuple[str, int]]] = set()


@contextmanager
def reserve(kind: str, number: int) -> Iterator[bool]:
    """Yield whether no other thread of this process works on it; a lease alone may have run out."""
    work = (kind, number)
    with _reserving:
        is_free = work not in _reserved
        _reserved.add(work)
    try:
        yield is_free
    finally:
        if is_free:
            with _reserving:
                _reserved.discard(work)
