"""Hands out a backup of the folder as the sealed file that it is; recorded before the first byte."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from environments_app.authorization.policy import Principal, require, require_confirmed
from keeper_project.backup.archive.format import BackupFile
from keeper_project.backup.create import record_backup
from keeper_project.backup.errors import Malformed
from keeper_project.backup.service import find_kept


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
        record_backup(actor, Action.BACKUP_DOWNLOAD, backup, name, {"sha256": sha256})
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
