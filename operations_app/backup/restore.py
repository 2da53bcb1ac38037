"""Restores a backup, and makes this installation the active one.

Everything is checked before anything is written, and what acts is suspended. All rows are written in one
transaction: a failed restore leaves the previous content. The audit log continues after a discontinuity: an
event that names the backup and the newest anchor. Making the installation active lets the audit log
continue from where the backup left it.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from audit_app.checkpoints.signing import accept_rollback
from audit_app.errors import AnchorUnavailable, NothingToResume
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import activate, note_restore, restored_at
from audit_app.integrity.row_state import acts_on_rows, latest_digests
from audit_app.interfaces import forget_keyring, keep_keyring
from audit_app.models import deployment_uuid, forget_deployment
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.environments.restore_suspension import RestoreSuspension, Waiting
from environments_app.errors import Invisible
from environments_app.models import Delivery, DeliveryState
from operations_app.backup.archive import rows
from operations_app.backup.archive.rows import Progress
from operations_app.backup.create import applied_migrations
from operations_app.backup.errors import Altered, Damaged, InUse, NotEmpty, RestoreFailed
from operations_app.backup.verification import OpenedBackup, Proof, load_rows, verified_backup
from operations_app.health.running import not_stopped
from operations_app.health.schema import missing_migrations
from operations_app.models import RunningProcess

# What migrations put into an empty database.
_MADE_BY_MIGRATIONS: Final = frozenset(
    {"audit_app.Deployment", "contenttypes.ContentType", "auth.Permission"}
)
_OTHER_AT_WORK: Final = (
    "the database is not empty and lacks tables of this release: another restore or `keeper init-db` is at "
    "work in it, or was stopped there. Wait for it, or name an empty database by DATABASE_URL. One of an "
    "earlier release waits for `keeper init-db`"
)


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A restore that is done: what it was proved to be, and how much of each kind waits to be released."""

    proof: Proof
    suspended: dict[str, int]


def restore(
    path: Path, *, replace: bool = False, despite_damage: bool = False, progress: Progress | None = None
) -> Restored:
    """Put a backup in place of what the database holds, in a process of its own.

    `replace` allows replacing an installation, `despite_damage` restoring damage that was backed up;
    `progress(what, count)` is called during the proof and the restore. Its caller has the host.
    Raises what `proved` raises; Damaged; NotEmpty if the database holds an installation; InUse if processes
    of Keeper use it; RestoreFailed if it does not take the rows. Then nothing was changed, save that an empty
    database may have its tables.
    """
    require_room(replace=replace)
    require_stopped()
    with verified_backup(path, progress) as (proof, opened):
        if proof.damaged and not despite_damage:
            raise Damaged(
                f"the backup holds {proof.damaged} problems that the installation had: look at them with "
                "--verify, and restore with --despite-damage if they are to be taken over"
            )
        suspended = _written(proof, opened, progress, replace=replace)
    return Restored(proof=proof, suspended=suspended)


def require_room(*, replace: bool) -> None:
    """Raise NotEmpty unless the database is empty, or may be replaced."""
    there = set() if replace else _tables()
    tables = [model for model in rows.tables() if model._meta.db_table in there]
    if any(rows.count(model) for model in tables if rows.label(model) not in _MADE_BY_MIGRATIONS):
        raise NotEmpty(
            "the database holds an installation: name another one by DATABASE_URL, or replace this one "
            "with --replace"
        )


def require_stopped() -> None:
    """Raise InUse if a process of Keeper may use the database: it would finish there what it has begun."""
    if RunningProcess._meta.db_table not in _tables():
        return
    using = sorted({f"{each.kind} on {each.host}" for each in not_stopped()})
    if using:
        raise InUse(
            f"Keeper uses the database ({', '.join(using)}): stop it first. A process of another host counts "
            "for 90 s after it ended"
        )


def _tables() -> set[str]:
    # To ask an SQLite database that is not there would make its file.
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite" and "memory" not in name and not Path(name).exists():
        return set()
    return set(connection.introspection.table_names())


def suspendables() -> list[RestoreSuspension]:
    """Return what a restore suspends, each by its kind (settings.KEEPER_RESTORE_SUSPENDERS)."""
    return [cast("RestoreSuspension", import_string(path)) for path in settings.KEEPER_RESTORE_SUSPENDERS]


def _written(
    proof: Proof, opened: OpenedBackup, progress: Progress | None, *, replace: bool
) -> dict[str, int]:
    _make_tables()
    try:
        # A test stands in for the process whose transaction this is.
        durable = not connection.in_atomic_block
        with connection.constraint_checks_disabled(), transaction.atomic(durable=durable):
            # The proof took its time: an installation may have begun in the database meanwhile.
            require_room(replace=replace)
            require_stopped()
            _empty()
            if load_rows(opened.file, opened.key, progress) != proof.digest:
                raise Altered("the file was exchanged after it was proved")
            connection.check_constraints()
            # With the keys that the proof has opened: no network from here on.
            forget_deployment()
            ContentType.objects.clear_cache()
            keep_keyring(opened.keys)
            return _seamed(proof)
    except DatabaseError as error:
        raise RestoreFailed(f"the database does not take the rows: {error}") from error
    finally:
        forget_deployment()
        forget_keyring()
        ContentType.objects.clear_cache()


def _make_tables() -> None:
    """Give an empty database its tables. Raises InUse if another process does, or was stopped in it."""
    if not connection.introspection.table_names() or not applied_migrations():
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except DatabaseError as error:
            if isinstance(error, IntegrityError) or "already exists" in str(error):
                raise InUse(_OTHER_AT_WORK) from error
            raise
    elif missing_migrations():
        raise InUse(_OTHER_AT_WORK)


def _empty() -> None:
    """Delete every row, the sessions too."""
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            if model._meta.managed and not model._meta.proxy:
                table = connection.ops.quote_name(model._meta.db_table)
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names


def _seamed(proof: Proof) -> dict[str, int]:
    """Suspend what acts, and record the discontinuity; return how much was suspended of each kind."""
    at, actor = timezone.now(), actors.system()
    states = latest_digests(acts_on_rows())
    suspended = {each.kind: each.suspend(actor=actor, at=at, states=states) for each in suspendables()}
    unsent = Delivery.objects.filter(state=DeliveryState.WAITING)
    unsent.update(state=DeliveryState.FAILED, finished_at=at, error="not sent: it was restored from a backup")
    manifest = proof.manifest
    note_restore(backup=manifest.backup, at=at)
    record(
        actor=actor,
        action=Action.DEPLOYMENT_RESTORE,
        stream=streams.SYSTEM,
        object=AuditObject("backup", manifest.backup, manifest.made_at),
        details={
            "sha256": proof.digest,
            "made_at": manifest.made_at,
            "deployment": str(deployment_uuid()),
            "anchor": manifest.anchor,
            "suspended": {**suspended},
            "damage": proof.damaged,
        },
    )
    return suspended


def waiting(*, actor: Principal) -> Iterator[Waiting]:
    """Yield what the last restore suspended and is not released. Raises Forbidden."""
    require(actor=actor, action=Action.BACKUP_VIEW, environment=None)
    since = restored_at()
    if since is not None:
        for each in suspendables():
            yield from each.waiting(since)


def release(*, actor: Principal, kind: str, uuid: UUID) -> None:
    """Let one thing act again.

    Raises Forbidden, ConfirmationNeeded, Invisible if nothing of the kind waits, and what
    `RestoreSuspension.release` raises.
    """
    require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
    require_confirmed(actor)
    since = restored_at()
    for each in suspendables():
        if each.kind == kind and since is not None:
            each.release(actor=actor, uuid=uuid, since=since)
            return
    raise Invisible("Not found.")


def changed_since(*, actor: Principal) -> Iterator[str]:
    """Yield a line for each credential or secret that is another elsewhere than in the backup.

    Goes over the network, so that this has to be the active installation. Raises Forbidden.
    """
    require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
    since = restored_at()
    if since is not None:
        for path in settings.KEEPER_RESTORE_CHECKS:
            yield from import_string(path)(since)


_log = logging.getLogger(__name__)


def activate_here(*, actor: Principal) -> int:
    """Let this installation act and no other of the deployment; return its epoch.

    After a restore the audit log is older than the newest checkpoint of a sink: its continuation without
    that one is recorded, and every verification lists it. Goes over the network. Raises Forbidden,
    LeaseUnwritable, KeyringUnavailable.
    """
    require(actor=actor, action=Action.DEPLOYMENT_ACTIVATE, environment=None)
    row = activate(actor=actor)
    if row.backup is not None:
        try:
            accept_rollback(actor=actor, reason=f"restored from backup {row.backup}")
        except NothingToResume:
            pass
        except AnchorUnavailable as error:
            _log.warning("run `keeper checkpoint --resume` once a sink answers: %s", error)
    return row.epoch
