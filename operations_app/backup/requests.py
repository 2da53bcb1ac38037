"""Requests of operators for backups and proofs, and the sealed file of a backup for download.

A page stores a row, and a worker carries it out. The download gives a backup of the folder as the sealed
file that it is; it is recorded before the first byte.
"""

import logging
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.models import deployment_uuid
from audit_app.recording.recorder import record
from core.db.concurrency import claim, unleased
from core.workers import nudge
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.principals import load_principal
from environments_app.errors import AccessError
from environments_app.sessions.service import lock_actor
from operations_app.backup import service as backup
from operations_app.backup.archive.format import BackupFile
from operations_app.backup.create import record_backup
from operations_app.backup.errors import BackupError, Malformed
from operations_app.backup.service import find_kept
from operations_app.models import BackupRequest

CARRY_OUT: Final = "keeper_project.tasks.carry_out_backup_requests"
# Longer than a backup or a proof takes: after it, a request whose worker died is carried out again, once.
_LEASE: Final = timedelta(hours=1)
_ATTEMPTS: Final = 2
# A request that came with a restored database is for a backup of days ago.
_STALE_AFTER: Final = timedelta(days=1)
_log = logging.getLogger(__name__)


def request(*, actor: Principal, name: str = "") -> None:
    """Ask a worker for a backup, or for the proof of the one called `name`; the request is recorded.

    Raises Forbidden, or Malformed if there is none of this name.
    """
    backup.request(actor=actor, name=name)
    BackupRequest.objects.create(person=actor.uuid, name=name)
    nudge(CARRY_OUT)


def run() -> None:
    """Carry out the requests that wait, each by one worker."""
    BackupRequest.objects.filter(requested_at__lt=timezone.now() - _STALE_AFTER).delete()
    for pk in BackupRequest.objects.filter(unleased(timezone.now(), _LEASE)).values_list("pk", flat=True):
        now = timezone.now()
        changes = {"lease_until": now + _LEASE, "attempts": F("attempts") + 1}
        row = claim(BackupRequest.objects.all(), pk, unleased(now, _LEASE), **changes)
        if row:
            _carry_out(row)


def _carry_out(row: BackupRequest) -> None:
    try:
        if row.attempts <= _ATTEMPTS:
            actor = load_principal(Actor(kind=ActorKind.USER, uuid=UUID(str(row.person)), name=""))
            if row.name:
                backup.verify(actor=actor, name=row.name)
            else:
                backup.make(actor=actor)
    except (AccessError, BackupError) as error:
        _log.warning("a request for a backup was not carried out (%s)", type(error).__name__)
    row.delete()


@dataclass(frozen=True, kw_only=True)
class SealedFile:
    """A backup that was opened for reading, at its first byte; who streams it closes it."""

    name: str
    file: BinaryIO


def open_sealed(*, actor: Principal, name: str) -> SealedFile:
    """Open a backup that this installation sealed and signed, and record that it is handed out.

    Raises Forbidden, ConfirmationNeeded, Malformed if the folder holds none of this name, and Truncated or
    Altered if the file is not as it was written.
    """
    require(actor=actor, action=Action.BACKUP_DOWNLOAD, environment=None)
    require_confirmed(actor)
    file = _opened(find_kept(name))
    try:
        backup, sha256 = _proven(file)
        # It takes seconds to prove a large file.
        with lock_actor(actor, Action.BACKUP_DOWNLOAD):
            record_backup(actor, Action.BACKUP_DOWNLOAD, backup, name, {"sha256": sha256}, write=record)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return SealedFile(name=name, file=file)


def _proven(file: BinaryIO) -> tuple[UUID, str]:
    """Return the identifier and the SHA-256 of a file that is whole and this installation's own."""
    found = BackupFile(file)
    if found.manifest.deployment != deployment_uuid():
        raise Malformed("the backup is of another installation")
    return found.manifest.backup, found.require_signature()


def _opened(path: Path) -> BinaryIO:
    """Open the file itself: a link in the folder could lead to any other."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError as error:
        raise Malformed("there is no backup of this name") from error
