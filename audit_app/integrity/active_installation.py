"""Which of the installations that hold this database may act: one at a time (ADR 12).

A copy of a database must not sync to where the original does. So every automatic act checks here first. The
row names the active installation by its marks, under MACs; each process computes its own from values that
no copy has: SECRET_KEY with an address of its database or, for SQLite, the file; or with what tells the
server from others. One mark in common is enough, and the others are then noted (`note_marks`): an address
may change, and the nodes of a cluster have several. Where KEEPER_LEASE_FILE names a file that several
installations can reach, it names the one activated last.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from audit_app.errors import LeaseUnwritable
from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.integrity.check_registry import Problem
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent, Installation, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import canonical_json, utc_text
from core.db.prepared import PreparedQuery

# Frozen names: an installation stays active when the module of its database engine moves.
_ENGINES: Final = {
    "core.db.sqlite3": "audit_app.sqlite3",
    "core.db.mariadb": "django.db.backends.mysql",
    "core.db.mariadb_tls": "audit_app.mysql",
}
_SALT: Final = "keeper/v1/installation"
# Of those that were noted, the oldest are forgotten.
_MARKS: Final = 64
_CHANGES: Final = (Action.DEPLOYMENT_ACTIVATE, Action.DEPLOYMENT_RESTORE)


def is_active() -> bool:
    """Return whether this process belongs to the installation that was activated last.

    Before any was, as in a new database, it does: by the audit log, since a row can be taken away.
    """
    row = current()
    if row is None:
        return _last_change() is None
    return _is_genuine(row) and _is_marked(row) and not _is_taken(row)


def _is_marked(row: Installation) -> bool:
    known = _marks_of(row)
    # The server is asked only under an address that is new.
    return not known.isdisjoint(_addresses()) or not known.isdisjoint(_server_marks())


def _marks_of(row: Installation) -> set[str]:
    return {mark for mark in (row.place, *_noted(row)) if mark}


def _noted(row: Installation) -> list[str]:
    """Return the marks beside the place; none of an installation that was active before this one."""
    owner, *marks = (row.also or "none").split()
    return marks if owner == str(row.uuid) else []


def restored_at() -> datetime | None:
    """Return when this database was restored from a backup, None if it never was."""
    row = current()
    return row.restored_at if row else None


_CURRENT: Final = PreparedQuery(lambda: Installation.objects.order_by("pk")[:1])


def current() -> Installation | None:
    """Return which installation was activated last, or restored; its MAC is not yet checked."""
    return _CURRENT.first()


def problems() -> Iterator[Problem]:
    """Find a row that differs from the last activation or restore in the audit log."""
    # At one instant, so that an activation in the meantime is no damage.
    with transaction.atomic():
        last, row = _last_change(), current()
    if row is None and last is not None:
        yield _problem("missing", "the trail says that one was activated or restored, and no row says which")
    if row is not None and not _is_genuine(row):
        yield _problem("edited", "the row was not written by Keeper: nothing acts")
    elif row is not None and (last is None or _told_by(row) != last):
        yield _problem("replayed", "another installation was activated or restored last than the row says")


# By the acts alone, which are few: with a condition on the stream, databases walk all of the stream.
_CHANGED: Final = PreparedQuery(
    lambda: (
        AuditEvent.objects.filter(action__in=_CHANGES)
        .order_by()
        .values_list("sequence", "action", "object_uuid", "stream", "outcome")
    )
)


def _last_change() -> tuple[str, UUID] | None:
    """Return the newest event that made an installation the active one, or none: its action and object."""
    allowed = [
        (sequence, action, uuid)
        for sequence, action, uuid, stream, outcome in _CHANGED.all()
        if (stream, outcome) == (streams.SYSTEM, Outcome.ALLOWED)
    ]
    return max(allowed)[1:] if allowed else None


def _told_by(row: Installation) -> tuple[str, UUID | None]:
    if row.place:
        return str(Action.DEPLOYMENT_ACTIVATE), row.uuid
    return str(Action.DEPLOYMENT_RESTORE), row.backup


def _problem(kind: str, message: str) -> Problem:
    return Problem(kind=kind, object="the active installation", message=message)


def _addresses() -> list[str]:
    """Return the marks of the addresses of this installation's database: those of all its hosts."""
    database = connection.settings_dict
    engine = _ENGINES.get(str(database["ENGINE"]), str(database["ENGINE"]))
    hosts = database.get("HOSTS") or [(database["HOST"], database["PORT"])]
    name = str(database["NAME"])
    return [_mark(engine, str(host), str(port), name, _file_of(name)) for host, port in hosts]


# What tells servers apart; a server knows some of them. Of a replica, a dump and a copy of the files at
# least one differs.
_VARIABLES: Final = (
    "server_uid", "server_uuid", "hostname", "port", "wsrep_on", "wsrep_cluster_address",
)  # fmt: skip
_MADE: Final = (
    "SELECT create_time FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"
)


def _server_marks() -> list[str]:
    """Return the marks of the server, by whatever address it is reached; none of SQLite.

    A node of Galera has one for each address at which it looks for its cluster.
    """
    if connection.vendor != "mysql":
        return []
    name = str(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        names = ", ".join(["%s"] * len(_VARIABLES))
        cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})", _VARIABLES)
        found = dict(cursor.fetchall())
        if found.get("wsrep_on") == "ON":
            cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
            cluster = dict(cursor.fetchall()).get("wsrep_cluster_state_uuid", "")
            peers = found.get("wsrep_cluster_address", "").removeprefix("gcomm://").partition("?")[0]
            return [_mark("galera", cluster, peer, name) for peer in peers.split(",") if cluster and peer]
        own = found.get("server_uid") or found.get("server_uuid")
        if not own:
            return []
        cursor.execute(_MADE, [Installation._meta.db_table])
        made = cursor.fetchone()
    return [_mark("server", own, found["hostname"], found["port"], name, str(made and made[0]))]


def _mark(*parts: str) -> str:
    """Return 64 characters that reveal none of the parts."""
    return salted_hmac(_SALT, "\n".join(parts), algorithm="sha256").hexdigest()


def note_marks(*, actor: Actor) -> None:
    """Note by what else the active installation is known, if this is the one: each is then enough."""
    row = current()
    if row is None or not is_active():
        return
    marks = [*_addresses(), *_server_marks()]
    if _marks_of(row).issuperset(marks):
        return
    with transaction.atomic():
        row = Installation.objects.select_for_update().first()
        if row is None or not is_active():
            return
        before = _noted(row)
        new = [mark for mark in marks if mark not in {row.place, *before}]
        _save(row, [*before, *new][-_MARKS:])
        record(
            actor=actor,
            action=Action.DEPLOYMENT_ACTIVATE,
            stream=streams.SYSTEM,
            object=AuditObject("installation", row.uuid, "keeper"),
            details={"epoch": row.epoch, "backup": str(row.backup) if row.backup else None, "marks": "noted"},
        )


def claim_first(*, actor: Actor) -> bool:
    """Make this the active installation if none ever was; return whether it became so."""
    if current() is not None:
        return False
    activate(actor=actor)
    return True


def activate(*, actor: Actor) -> Installation:
    """Make this the active installation; whichever was so before stops to act when it next asks.

    Raises LeaseUnwritable if KEEPER_LEASE_FILE does not take it. Who may is for the caller to ask.
    """
    with _locked_lease() as lease, transaction.atomic():
        row = Installation.objects.select_for_update().first() or Installation()
        row.uuid, row.since = uuid4(), timezone.now()
        row.place, *others = [*_addresses(), *_server_marks()]
        epoch = (lease or {}).get("epoch")
        row.epoch = max(row.epoch, epoch if isinstance(epoch, int) else 0) + 1
        _save(row, others)
        record(
            actor=actor,
            action=Action.DEPLOYMENT_ACTIVATE,
            stream=streams.SYSTEM,
            object=AuditObject("installation", row.uuid, "keeper"),
            details={"epoch": row.epoch, "backup": str(row.backup) if row.backup else None},
        )
        # Before the commit: should that fail, this installation is inactive, and not two are active.
        _write_lease(row)
    return row


def note_restore(*, backup: UUID, at: datetime) -> None:
    """Record in a restored database that no installation is active, in the caller's transaction."""
    Installation.objects.all().delete()
    _save(Installation(uuid=uuid4(), place="", epoch=0, since=at, backup=backup, restored_at=at))


def _save(row: Installation, noted: Sequence[str] = ()) -> None:
    row.also = " ".join([str(row.uuid), *noted])
    row.mac = keyring().mac(Purpose.ROW_MAC, _message(row))
    row.also_mac = keyring().mac(Purpose.ROW_MAC, _marks_message(row))
    row.save()


def _is_genuine(row: Installation) -> bool:
    keys = keyring()
    if not keys.verify(Purpose.ROW_MAC, _message(row), bytes(row.mac)):
        return False
    return not _noted(row) or keys.verify(Purpose.ROW_MAC, _marks_message(row), bytes(row.also_mac or b""))


def _marks_message(row: Installation) -> bytes:
    return canonical_json(["installation-marks", str(deployment_uuid()), row.also])


def _message(row: Installation) -> bytes:
    return canonical_json(
        [
            "installation",
            str(deployment_uuid()),
            str(row.uuid),
            row.place,
            row.epoch,
            utc_text(row.since),
            str(row.backup),
            utc_text(row.restored_at) if row.restored_at else None,
        ]
    )


def _file_of(name: str) -> str:
    """Return what distinguishes SQLite's file from a copy; empty for a database server."""
    try:
        return str(Path(name).stat().st_ino) if connection.vendor == "sqlite" else ""
    except OSError:
        return ""


# --- The lease ------------------------------------------------------------------------------


def _lease_path() -> Path | None:
    return Path(settings.KEEPER_LEASE_FILE) if settings.KEEPER_LEASE_FILE else None


def _is_taken(row: Installation) -> bool:
    """Return whether the lease names another installation of this deployment."""
    lease = _read_lease()
    if lease is None or lease.get("deployment") != str(deployment_uuid()):
        return False
    genuine = keyring().verify(
        Purpose.ROW_MAC, _lease_message(lease), bytes.fromhex(str(lease.get("mac", "")))
    )
    return not genuine or lease.get("installation") != str(row.uuid)


def _read_lease() -> dict[str, Any] | None:
    path = _lease_path()
    try:
        content = json.loads(path.read_text()) if path else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        # It exists and is unreadable: treated as taken.
        return {"deployment": str(deployment_uuid())}
    return content if isinstance(content, dict) else None


@contextmanager
def _locked_lease() -> Iterator[dict[str, Any] | None]:
    """Yield the lease, while no other process on this storage can activate."""
    path = _lease_path()
    if path is None:
        yield None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LeaseUnwritable(f"KEEPER_LEASE_FILE cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield _read_lease()
    finally:
        os.close(descriptor)


def _write_lease(row: Installation) -> None:
    path = _lease_path()
    if path is None:
        return
    lease = {"deployment": str(deployment_uuid()), "installation": str(row.uuid), "epoch": row.epoch}
    lease["mac"] = keyring().mac(Purpose.ROW_MAC, _lease_message(lease)).hex()
    draft = path.with_name(f".{path.name}.{row.uuid}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(lease, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise LeaseUnwritable(f"KEEPER_LEASE_FILE cannot be written: {error.strerror}") from error


def _lease_message(lease: dict[str, Any]) -> bytes:
    said = [str(lease.get(part)) for part in ("deployment", "installation", "epoch")]
    return canonical_json(["installation-lease", *said])
