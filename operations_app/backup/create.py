"""Writes a backup: everything, as it was at one instant, encrypted and signed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import keyring
from audit_app.models import Checkpoint, StreamHead, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json, utc_text
from core.db.snapshot import snapshot
from environments_app.authorization.policy import Principal, require
from operations_app.backup.archive import rows
from operations_app.backup.archive.format import BackupWriter, Written, new_file
from operations_app.backup.archive.manifest import FileKey, Head, Manifest, NeededKey, new_file_key
from operations_app.backup.archive.rows import Progress
from operations_app.backup.errors import BackupError
from secrets_app.models import DataKey

SUFFIX: Final = ".kbk"


def default_path() -> Path:
    """Return the default path of a backup: in the folder of backups, named by the time."""
    moment = timezone.now().strftime("%Y%m%dT%H%M%S")
    return Path(settings.KEEPER_BACKUP_DIR) / f"keeper-{moment}-{uuid4().hex[:8]}{SUFFIX}"


def back_up(*, actor: Principal, path: Path, progress: Progress | None = None) -> Written:
    """Write a backup to a new file, recorded before it begins and when it ends.

    `progress(table, rows)` is called with the rows so far. Raises Forbidden; KeyMissing if the key provider
    cannot be used; Unwritable if the file cannot be written. A failed backup leaves no file.
    """
    require(actor=actor, action=Action.BACKUP_CREATE, environment=None)
    keyring().open_all()
    backup, deployment = uuid4(), deployment_uuid()
    name = path.name[:200]
    record_backup(actor, Action.BACKUP_CREATE, backup, name, {"file": name})
    # Over the network, perhaps: before the database is asked to keep a view of itself.
    try:
        file_key, plain = new_file_key(deployment=deployment, backup=backup)
        with new_file(path) as file, snapshot():
            manifest = _manifest(backup, deployment, file_key)
            writer = BackupWriter(path, file, manifest, plain)
            with writer.payload:
                for model in rows.tables():
                    writer.payload.writelines(rows.lines(model, progress))
                written = writer.finish()
    except (BackupError, DatabaseError) as error:
        reason: dict[str, Json] = {"reason": type(error).__name__}
        record_backup(actor, Action.BACKUP_FINISH, backup, name, reason, Outcome.FAILED)
        raise
    total = sum(manifest.counts.values())
    found: dict[str, Json] = {"sha256": written.digest, "size": written.size, "rows": total}
    record_backup(actor, Action.BACKUP_FINISH, backup, name, found)
    return written


def applied_migrations() -> list[str]:
    """Return the applied migrations, sorted."""
    return sorted(".".join(name) for name in MigrationRecorder(connection).applied_migrations())


def _manifest(backup: UUID, deployment: UUID, file_key: FileKey) -> Manifest:
    wrapped = DataKey.objects.order_by("provider", "key_uri").values("provider", "key_uri")
    heads = StreamHead.objects.order_by("stream").values_list("stream", "sequence", "hash")
    newest = Checkpoint.objects.order_by("-number").values_list("number", "digest").first()
    return Manifest(
        backup=backup,
        deployment=deployment,
        made_at=utc_text(timezone.now()),
        database=connection.vendor,
        migrations=applied_migrations(),
        file_key=file_key,
        keys=[NeededKey(**key) for key in wrapped.annotate(data_keys=Count("pk"))],
        counts={rows.label(model): rows.count(model) for model in rows.tables()},
        heads={stream: Head(sequence=sequence, hash=bytes(tip).hex()) for stream, sequence, tip in heads},
        anchor={"number": newest[0], "digest": bytes(newest[1]).hex()} if newest else None,
    )


def record_backup(
    actor: Principal,
    action: Action,
    backup: UUID,
    name: str,
    details: Mapping[str, Json],
    outcome: Outcome = Outcome.ALLOWED,
    *,
    write: Callable[..., object] = commit_record,
) -> None:
    """Record what is done with a backup, in a transaction of its own, or by `record` in the caller's."""
    write(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("backup", backup, name),
        outcome=outcome,
        details=details,
    )
