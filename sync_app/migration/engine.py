"""Carries migrations out: claims one, reads its source, makes the plan or applies it, a batch at a time.

Requests to the source run outside of transactions. A batch is one transaction with its event and the states
of its lines, of the worker that still holds the lease. What a killed worker leaves is carried on by the next.
"""

import logging
import os
import socket
import time
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

from django.db import transaction
from django.db.models import F, Q

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.interfaces import KeyringUnavailable
from audit_app.recording.recorder import record
from core.db.concurrency import claim as claim_row
from core.db.concurrency import unleased
from core.network.limits import guarded
from environments_app.errors import AccessError, Tampered
from secrets_app.errors import KeyUnavailable, SecretError
from sync_app.errors import BackendError, LeaseLost, NotTheActiveInstallation, ShutdownRequested, SyncError
from sync_app.jobs.leases import (
    LEASE,
    database_now,
    raise_if_shutdown_requested,
    released_if_lost,
    reserve,
    resume,
    retry_delay,
)
from sync_app.migration import service
from sync_app.migration.credentials import migration_principal, open_source
from sync_app.migration.passes import apply_plan, make_plan
from sync_app.models.migration import Migration, MigrationState

logger = logging.getLogger(__name__)
_MAX_ATTEMPTS: Final = 8
_RENEW_AFTER: Final = 15.0
_ERROR_LENGTH: Final = 500


class MigrationLease:
    """The hold of a worker on a migration; each batch renews it in its transaction."""

    def __init__(self, migration: Migration, owner: str) -> None:
        self._pk, self._epoch, self._owner = migration.pk, migration.epoch, owner
        self._renewed = time.monotonic()

    def renew(self, **changes: Any) -> None:
        """Renew the lease, and change other columns that no MAC covers. Raises LeaseLost."""
        rows = Migration.objects.filter(pk=self._pk, epoch=self._epoch, lease_owner=self._owner)
        if not rows.update(lease_until=database_now() + LEASE, **changes):
            raise LeaseLost("another worker carries this migration on")
        self._renewed = time.monotonic()

    def require_unexpired(self) -> None:
        """Raise LeaseLost if the lease was not renewed in time; it asks the clock alone."""
        if time.monotonic() - self._renewed > LEASE.total_seconds():
            raise LeaseLost("the lease ran out: another worker may carry this migration on")

    def heartbeat(self) -> None:
        raise_if_shutdown_requested()
        if time.monotonic() - self._renewed > _RENEW_AFTER:
            self.renew()

    def release(self, **changes: Any) -> None:
        self.renew(**changes)
        Migration.objects.filter(pk=self._pk, epoch=self._epoch, lease_owner=self._owner).update(
            lease_owner="", lease_until=None
        )


def due(now: datetime) -> Q:
    """Return the condition on migrations that a worker may carry on."""
    is_time = Q(due_at__isnull=True) | Q(due_at__lte=now)
    working = Q(state__in=[MigrationState.PLANNING, MigrationState.APPLYING]) & is_time
    following = Q(state=MigrationState.FOLLOWING, due_at__lte=now)
    return (working | following) & unleased(now, LEASE)


def due_ids() -> list[int]:
    """Return the migrations that a worker may carry on now."""
    return list(
        Migration.objects.filter(due(database_now()), environment__deleted_at__isnull=True)
        .order_by("id")
        .values_list("pk", flat=True)[:20]
    )


def execute(migration_id: int) -> Migration | None:
    """Carry a migration on; None if it waits, or another worker has it. Its errors are its outcome."""
    with reserve("migration", migration_id) as is_free:
        return resume(partial(_claim_and_work, migration_id)) if is_free else None


def _claim_and_work(migration_id: int) -> Migration | None:
    now, owner = database_now(), f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
    migration = claim_row(
        Migration.objects.select_related("environment"),
        migration_id,
        due(now),
        lease_owner=owner,
        lease_until=now + LEASE,
        epoch=F("epoch") + 1,
        attempts=F("attempts") + 1,
    )
    if migration is None:
        return None
    lease = MigrationLease(migration, owner)
    try:
        with released_if_lost(lease.release), guarded(lease.require_unexpired):
            _attempt(migration, lease)
    except LeaseLost:
        logger.info("migration %s is carried on by another worker", migration.uuid)
    return Migration.objects.get(pk=migration_id)


def _attempt(migration: Migration, lease: MigrationLease) -> None:
    try:
        _work(migration, lease)
    except LeaseLost:
        raise
    except ShutdownRequested:
        lease.release(attempts=0)
    except (BackendError, KeyUnavailable, KeyringUnavailable) as error:
        # Each batch that was stored let them begin anew.
        migration.refresh_from_db(fields=["attempts"])
        passing = not getattr(error, "permanent", False) and migration.attempts < _MAX_ATTEMPTS
        wait = retry_delay(migration.attempts)
        _note(migration, lease, str(error), again=passing or migration.follow_seconds > 0, wait=wait)
    except (SyncError, AccessError, SecretError) as error:
        _note(migration, lease, str(error), again=False, wait=timedelta())


def _note(migration: Migration, lease: MigrationLease, error: str, *, again: bool, wait: timedelta) -> None:
    sentence = error[:_ERROR_LENGTH]
    if again:
        lease.release(error=sentence, due_at=database_now() + wait)
        return
    with transaction.atomic():
        lease.release(error=sentence, state=MigrationState.FAILED, due_at=None, attempts=0)
        record(
            actor=migration.actor,
            action=Action.MIGRATION_APPLY if migration.plan_digest else Action.MIGRATION_PLAN,
            stream=environment_stream(migration.environment.uuid),
            object=migration.audit_object,
            outcome=Outcome.FAILED,
            details={"error": sentence},
        )


def _work(migration: Migration, lease: MigrationLease) -> None:
    if not verified_rows([migration]):
        raise Tampered("The migration's record was changed outside Keeper; nothing is done.")
    if not is_active():
        raise NotTheActiveInstallation(
            "This installation is not active and carries nothing over. Run `keeper activate`, or stop it."
        )
    if migration.state == MigrationState.FOLLOWING:
        service.begin_next_look(migration, lease.renew)
    actor = migration_principal(migration)
    with open_source(actor=actor, migration=migration) as source:
        if not migration.plan_digest:
            make_plan(migration, source, lease)
        if migration.state == MigrationState.APPLYING:
            apply_plan(migration, source, lease)
            return
    service.finish_plan(lease.release)
