"""Jobs on keys that operators ask for: a page stores a row, and a worker carries it out.

A job is the same work as the commands `kms`, `migrate_to_kms` and `rollback_kms`; each may be repeated, so
that one whose worker died is carried out again.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from audit_app.db.claims import claim, unleased
from audit_app.errors import KeyringUnavailable
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.interfaces.nudges import nudge
from audit_app.models import deployment_uuid
from audit_app.recording.recorder import AuditObject, commit_record
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.principals import load_principal
from environments_app.errors import AccessError, Conflict, InvalidField
from environments_app.models import Environment
from secrets_app.errors import KeyRefused, KeyUnavailable, MigrationRefused
from secrets_app.key_migration.rollback import roll_back
from secrets_app.key_migration.service import migrate, plan
from secrets_app.key_operations.key_test import trials
from secrets_app.key_operations.reencrypt import BATCH
from secrets_app.key_operations.rotation import Progress, rotations
from secrets_app.models import KeyJob, KeyJobKind, KeyJobState

RUN: Final = "secrets_app.tasks.run_key_jobs"
ACTIONS: Final = {
    KeyJobKind.TEST: Action.DATA_KEY_CHECK,
    KeyJobKind.REWRAP: Action.DATA_KEY_ROTATE,
    KeyJobKind.REENCRYPT: Action.DATA_KEY_ROTATE,
    KeyJobKind.PLAN: Action.KEY_MIGRATION_START,
    KeyJobKind.MIGRATE: Action.KEY_MIGRATION_START,
    KeyJobKind.ROLL_BACK: Action.KEY_MIGRATION_ROLLBACK,
}
# Longer than a batch and a throttled KMS take; each progress extends it.
_LEASE: Final = timedelta(minutes=10)
_ATTEMPTS: Final = 3
# A job that came with a restored database is of days ago.
_STALE_AFTER: Final = timedelta(days=1)
_STORE_SECONDS: Final = 1.0
_REFUSALS: Final = (AccessError, MigrationRefused, KeyUnavailable, KeyRefused, KeyringUnavailable)
# Whether a step went well, and what it did.
_Step = tuple[bool, str]


def request(*, actor: Principal, kind: str, environment: str = "", backup: str = "") -> KeyJob:
    """Ask a worker for a job on keys, and record that.

    Raises Forbidden, ConfirmationNeeded, InvalidField, or Conflict while another job waits or runs.
    """
    chosen = _kind(kind)
    require(actor=actor, action=ACTIONS[chosen], environment=None)
    require_confirmed(actor)
    if environment and not Environment.objects.filter(name=environment).exists():
        raise InvalidField("environment", "There is no environment of this name.")
    if (chosen == KeyJobKind.ROLL_BACK) != bool(backup) or (backup and backup not in backups()):
        raise InvalidField("backup", "Choose the backup that the migration wrote.")
    if KeyJob.objects.filter(finished_at=None).exists():
        raise Conflict("A job on keys is queued or running. Wait for it to finish.")
    commit_record(
        actor=actor,
        action=ACTIONS[chosen],
        stream=streams.SYSTEM,
        object=AuditObject("deployment", deployment_uuid(), "keys"),
        details={"step": "requested", "kind": chosen, "environment": environment, "backup": backup},
    )
    job = KeyJob.objects.create(
        kind=chosen, environment=environment, backup=backup, person=actor.uuid, person_name=actor.name
    )
    nudge(RUN)
    return job


def backups() -> list[str]:
    """Return the names of the backups of keys on this machine, the newest first."""
    return sorted(
        (path.name for path in Path(settings.KEEPER_DATA_DIR).glob("key-backup-*.json")), reverse=True
    )


def run() -> None:
    """Carry out the jobs that wait, each by one worker."""
    now = timezone.now()
    KeyJob.objects.filter(finished_at=None, requested_at__lt=now - _STALE_AFTER).update(
        state=KeyJobState.FAILED, finished_at=now, step="not started within a day"
    )
    waiting = KeyJob.objects.filter(unleased(now, _LEASE), finished_at=None).order_by("pk")
    for pk in waiting.values_list("pk", flat=True):
        changes = {"lease_until": now + _LEASE, "attempts": F("attempts") + 1, "state": KeyJobState.RUNNING}
        job = claim(KeyJob.objects.all(), pk, unleased(now, _LEASE), started_at=now, **changes)
        if job:
            _carry_out(job)


def _carry_out(job: KeyJob) -> None:
    if job.attempts > _ATTEMPTS:
        _end(job, KeyJobState.FAILED, "its worker ended several times")
        return
    job.results, fine = [], True
    try:
        for ok, text in _steps(job):
            fine = fine and ok
            job.results.append(text)
            _store(job)
    except _REFUSALS as error:
        _end(job, KeyJobState.FAILED, str(error))
    else:
        _end(job, KeyJobState.DONE if fine else KeyJobState.PROBLEMS, "")


def _steps(job: KeyJob) -> Iterator[_Step]:
    actor = load_principal(Actor(kind=ActorKind.USER, uuid=UUID(str(job.person)), name=job.person_name))
    kind = KeyJobKind(job.kind)
    require(actor=actor, action=ACTIONS[kind], environment=None)
    return _WORK[kind](job, _progress(job))


def _test(job: KeyJob, _progress: Progress) -> Iterator[_Step]:
    return ((each.ok, each.text()) for each in trials(job.environment or None))


def _rotate(job: KeyJob, progress: Progress) -> Iterator[_Step]:
    deep = job.kind == KeyJobKind.REENCRYPT
    done = rotations(environment=job.environment, reencrypt=deep, progress=progress)
    return ((each.ok, each.text()) for each in done)


def _plan(job: KeyJob, progress: Progress) -> Iterator[_Step]:
    done = plan(environment=job.environment, batch_size=BATCH, progress=progress)
    return ((each.ok, each.text()) for each in done)


def _migrate(job: KeyJob, progress: Progress) -> Iterator[_Step]:
    done = migrate(environment=job.environment, batch_size=BATCH, progress=progress)
    return ((each.ok, each.text()) for each in done)


def _roll_back(job: KeyJob, _progress: Progress) -> Iterator[_Step]:
    done = roll_back(Path(settings.KEEPER_DATA_DIR) / Path(job.backup).name)
    yield True, f"migration {done.migration} rolled back: {done.data_keys:,} data keys moved"


_WORK: Final[dict[KeyJobKind, Callable[[KeyJob, Progress], Iterator[_Step]]]] = {
    KeyJobKind.TEST: _test,
    KeyJobKind.REWRAP: _rotate,
    KeyJobKind.REENCRYPT: _rotate,
    KeyJobKind.PLAN: _plan,
    KeyJobKind.MIGRATE: _migrate,
    KeyJobKind.ROLL_BACK: _roll_back,
}


def _progress(job: KeyJob) -> Progress:
    """Return what keeps the progress of a job, a second at most behind."""
    stored = time.monotonic() - _STORE_SECONDS

    def keep(name: str, done: int, total: int, what: str) -> None:
        nonlocal stored
        job.step, job.done, job.total = f"{name}: {what}"[:200], done, total
        if time.monotonic() - stored >= _STORE_SECONDS:
            stored = time.monotonic()
            _store(job)

    return keep


def _store(job: KeyJob) -> None:
    job.lease_until = timezone.now() + _LEASE
    job.save(update_fields=["step", "done", "total", "results", "lease_until"])


def _end(job: KeyJob, state: KeyJobState, problem: str) -> None:
    job.state, job.finished_at, job.lease_until = state, timezone.now(), None
    job.step = problem[:200]
    if problem:
        job.results.append(problem)
    job.save(update_fields=["state", "finished_at", "lease_until", "step", "results"])


def _kind(kind: str) -> KeyJobKind:
    try:
        return KeyJobKind(kind)
    except ValueError as error:
        raise InvalidField("kind", "Choose what to do.") from error
