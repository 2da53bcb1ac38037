"""The folder of backups: what is in it, when the next one is due, which go, and whether they are fresh."""

import logging
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from audit_app.errors import KeyringUnavailable
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL
from audit_app.integrity.active_installation import is_active
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.recorder import record
from core.canonical_json import Json, parsed_details
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.principals import system_principal
from environments_app.notifications.service import raise_alert, resolve_alert
from environments_app.sessions.service import lock_actor
from operations_app.backup.archive.format import open_backup, remove_unfinished
from operations_app.backup.create import SUFFIX, back_up, default_path, record_backup
from operations_app.backup.errors import BackupError, Malformed
from secrets_app.keys.providers.registry import with_extended_timeout

_SHOWN: Final = 100
_ENDED: Final = 200
_NAME: Final = re.compile(r"keeper-[0-9T]{15}-[0-9a-f]{8}\.kbk")
# What a backup gives each request to KMS: a night without a backup is worse than a minute's wait.
_KEY_SECONDS: Final = 60.0
_RUNNING: Final = "keeper:backup-running"
# As long as the longest backup may take, should its worker die.
_RUNNING_SECONDS: Final = 6 * 3600
_PROOF_SECONDS: Final = 6 * 3600
_LATE: Final = "backup-late"
_FAILED: Final = "backup-failed"
# What Django prints before the error of a command.
_PREFIX: Final = "CommandError: "
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoredBackup:
    """One backup of this deployment in the folder.

    `proved` is when it was last proved, `sound` how that went, and `reason` why it failed.
    """

    name: str
    backup: UUID
    made_at: datetime
    size: int
    rows: int
    proved: datetime | None = None
    sound: bool = False
    reason: str = ""


def list_backups(*, actor: Principal) -> list[StoredBackup]:
    """Return this deployment's backups, newest first, from their manifests. Raises Forbidden."""
    require(actor=actor, action=Action.BACKUP_VIEW, environment=None)
    found = sorted(
        (each for path in _files()[:_SHOWN] if (each := _described(path))), key=lambda each: each.name
    )
    events = AuditEvent.objects.filter(
        action=Action.BACKUP_VERIFY, object_uuid__in=[each.backup for each in found]
    )
    rows = events.order_by("id").values_list("object_uuid", "at", "outcome", "details")
    proofs = {backup: _proof(at, outcome, details) for backup, at, outcome, details in rows}
    return [replace(each, **proofs.get(each.backup, {})) for each in reversed(found)]


def find_kept(name: str) -> Path:
    """Return the path of a backup by its name. Raises Malformed if the folder holds none of this name."""
    path = Path(settings.KEEPER_BACKUP_DIR) / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise Malformed("there is no backup of this name")
    return path


def last_success() -> datetime | None:
    """Return when a backup was last finished, from the audit log; None if the last _ENDED all failed."""
    # By the act alone, of which there are few: beside an outcome, a database may go through all of the
    # audit log.
    ended = (
        AuditEvent.objects.filter(action=Action.BACKUP_FINISH).order_by("-id").values_list("outcome", "at")
    )
    return next((at for outcome, at in ended[:_ENDED] if outcome == Outcome.ALLOWED), None)


def is_due(now: datetime) -> bool:
    """Return whether the schedule wants a backup by now."""
    hours = settings.KEEPER_BACKUP_INTERVAL_HOURS
    last = last_success()
    return hours > 0 and (last is None or last <= now - timedelta(hours=hours))


def back_up_if_due() -> bool:
    """Make the scheduled backup, remove surplus ones, and alert if the newest is too old."""
    if not is_active():
        return False
    if removed := remove_unfinished(Path(settings.KEEPER_BACKUP_DIR)):
        _log.warning("removed %s unfinished backups, whose processes were killed", removed)
    made = False
    if is_due(timezone.now()):
        made = make(actor=system_principal(is_admin=True))
    check_freshness()
    return made


def request(*, actor: Principal, name: str = "") -> None:
    """Record a request for a backup, or for the verification of the one called `name`.

    Raises Forbidden, or Malformed if there is none of this name.
    """
    require(actor=actor, action=Action.BACKUP_CREATE, environment=None)
    backup = NIL
    if name:
        with open_backup(find_kept(name)) as file:
            backup = file.manifest.backup
    details: dict[str, Json] = {"act": "verify" if name else "make"}
    with lock_actor(actor, Action.BACKUP_CREATE):
        record_backup(actor, Action.BACKUP_REQUEST, backup, name, details, write=record)


def make(*, actor: Principal) -> bool:
    """Make a backup in the folder and remove surplus ones; False if another one is running.

    A failure alerts the operators. Raises Forbidden.
    """
    if not cache.add(_RUNNING, 1, timeout=_RUNNING_SECONDS):
        return False
    try:
        with with_extended_timeout(_KEY_SECONDS):
            back_up(actor=actor, path=default_path())
        remove_surplus(actor=actor)
    except (BackupError, KeyringUnavailable) as error:
        _log.error("a backup failed: %s", error)
        _tell(_FAILED, "a backup failed", str(error))
        return False
    finally:
        cache.delete(_RUNNING)
    resolve_alert(kinds=[_FAILED, _LATE], about=deployment_uuid(), subject="Keeper is backed up again")
    return True


def remove_surplus(*, actor: Principal) -> int:
    """Remove all but the newest KEEPER_BACKUP_KEEP backups that Keeper made here; each is recorded first."""
    keep = settings.KEEPER_BACKUP_KEEP
    if keep <= 0:
        return 0
    mine = [(path, each) for path in _files() if (each := _described(path))]
    surplus = mine[: max(0, len(mine) - keep)]
    for path, each in surplus:
        record_backup(actor, Action.BACKUP_REMOVE, each.backup, path.name, {})
        path.unlink(missing_ok=True)
    return len(surplus)


def is_late(last: datetime | None) -> bool:
    """Return whether the schedule is on and the last backup is older than two of its intervals."""
    hours = settings.KEEPER_BACKUP_INTERVAL_HOURS
    return hours > 0 and (last is None or last < timezone.now() - timedelta(hours=2 * hours))


def check_freshness() -> None:
    """Alert if backups are late, unless the schedule is off."""
    if settings.KEEPER_BACKUP_INTERVAL_HOURS <= 0:
        return
    last = last_success()
    if is_late(last):
        since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "yet"
        _tell(_LATE, "Keeper is not backed up", f"No backup was finished {since}.")
    else:
        resolve_alert(kinds=[_LATE], about=deployment_uuid(), subject="Keeper is backed up again")


def verify(*, actor: Principal, name: str) -> bool:
    """Prove a backup of the folder in a process of its own, and record what came of it.

    Raises Forbidden, or Malformed if there is none of this name.
    """
    require(actor=actor, action=Action.BACKUP_CREATE, environment=None)
    path = find_kept(name)
    with open_backup(path) as file:
        backup = file.manifest.backup
    # A process of its own, since proving points the connection at another database.
    command = [sys.executable, "-m", "keeper_project.runtime.cli", "restore", str(path), "--verify"]
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=_PROOF_SECONDS, check=False
    )
    sound = done.returncode == 0
    said = (done.stdout if sound else done.stderr or done.stdout).strip().splitlines()
    details: dict[str, Json] = {"said": said[-1].removeprefix(_PREFIX)[:300] if said else ""}
    outcome = Outcome.ALLOWED if sound else Outcome.FAILED
    record_backup(actor, Action.BACKUP_VERIFY, backup, name, details, outcome)
    if not sound:
        _tell(_FAILED, "a backup does not restore", f"{name}: {details['said']}")
    return sound


def _files() -> list[Path]:
    folder = Path(settings.KEEPER_BACKUP_DIR)
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.name)), key=lambda p: p.name
    )


def _described(path: Path) -> StoredBackup | None:
    """Return the manifest of a backup of this deployment; None for any other file."""
    try:
        with open_backup(path) as file:
            manifest = file.manifest
        made_at = datetime.fromisoformat(manifest.made_at)
        size = path.stat().st_size
    except (BackupError, ValueError, OSError):
        return None
    if manifest.deployment != deployment_uuid():
        return None
    return StoredBackup(
        name=path.name, backup=manifest.backup, made_at=made_at, size=size, rows=sum(manifest.counts.values())
    )


def _proof(at: datetime, outcome: str, details: str) -> dict[str, Any]:
    """Return the fields of a backup that an event of its verification fills."""
    sound = outcome == Outcome.ALLOWED
    reason = "" if sound else str(parsed_details(details).get("said", "")).removeprefix(_PREFIX)
    return {"proved": at, "sound": sound, "reason": reason}


def _tell(kind: str, subject: str, line: str) -> None:
    raise_alert(
        kind=kind,
        about=deployment_uuid(),
        environment=None,
        subject=subject,
        lines=[line],
        link=reverse("backups"),
    )
