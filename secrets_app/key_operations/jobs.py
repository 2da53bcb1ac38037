"""Jobs on keys that operators ask for: a page stores a row, and a worker carries it out.

A job is the same work as the commands `kms`, `migrate_to_kms` and `rollback_kms`; each may be repeated, so
that one whose worker died is carried out again.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

from django.conf import settings

from audit_app.errors import KeyringUnavailable
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.workers import nudge
from environments_app import operator_jobs
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.errors import AccessError, Conflict, InvalidField
from environments_app.models import Environment
from secrets_app.errors import KeyRefused, KeyUnavailable, MigrationRefused
from secrets_app.key_operations.migration.rollback import RolledBack, roll_back
from secrets_app.key_operations.migration.service import Migrated, migrate, plan
from secrets_app.key_operations.reencrypt import BATCH
from secrets_app.key_operations.rotation import Progress, Rotation, rotations
from secrets_app.key_operations.trial import Trial, trials
from secrets_app.models import KeyJob, KeyJobKind

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
Result: TypeAlias = Trial | Rotation | Migrated | RolledBack
_REFUSALS: Final = (AccessError, MigrationRefused, KeyUnavailable, KeyRefused, KeyringUnavailable)


def request(*, actor: Principal, kind: str, environment: str = "", backup: str = "") -> KeyJob:
    """Ask a worker for a job on keys, and record that.

    Raises Forbidden, ConfirmationNeeded, InvalidField, or Conflict while another job waits or runs.
    """
    chosen = _kind(kind)
    require(actor=actor, action=ACTIONS[chosen], environment=None)
    require_confirmed(actor)
    if environment and not Environment.objects.filter(name=environment).exists():
        raise InvalidField("environment", "Environment not found.")
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
    operator_jobs.run_jobs(KeyJob.objects.all(), _steps, lease=_LEASE, refusals=_REFUSALS)


def _steps(job: KeyJob, progress: operator_jobs.Progress) -> Iterator[operator_jobs.Step]:
    kind = KeyJobKind(job.kind)
    require(actor=operator_jobs.requester(job), action=ACTIONS[kind], environment=None)
    results = _WORK[kind](job, lambda name, done, total, what: progress(f"{name}: {what}", done, total))
    return ((result.ok, result.text()) for result in results)


def _rotate(job: KeyJob, progress: Progress) -> Iterator[Result]:
    deep = job.kind == KeyJobKind.REENCRYPT
    return rotations(environment=job.environment, reencrypt=deep, progress=progress)


def _roll_back(job: KeyJob, _progress: Progress) -> Iterator[Result]:
    yield roll_back(Path(settings.KEEPER_DATA_DIR) / Path(job.backup).name)


_WORK: Final[dict[KeyJobKind, Callable[[KeyJob, Progress], Iterator[Result]]]] = {
    KeyJobKind.TEST: lambda job, _progress: trials(job.environment or None),
    KeyJobKind.REWRAP: _rotate,
    KeyJobKind.REENCRYPT: _rotate,
    KeyJobKind.PLAN: lambda job, progress: plan(
        environment=job.environment, batch_size=BATCH, progress=progress
    ),
    KeyJobKind.MIGRATE: lambda job, progress: migrate(
        environment=job.environment, batch_size=BATCH, progress=progress
    ),
    KeyJobKind.ROLL_BACK: _roll_back,
}


def _kind(kind: str) -> KeyJobKind:
    try:
        return KeyJobKind(kind)
    except ValueError as error:
        raise InvalidField("kind", "Choose what to do.") from error
