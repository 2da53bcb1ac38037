"""Holds a restored database against the backup that it came from: what came back, and that nothing acts.

For the time between a restore and the first thing that is done with it, and for a drill, which restores
into a throw-away database for nothing but this.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import QuerySet, Sum

from audit_app.checkpoints.inspection import newest_checkpoint
from audit_app.checkpoints.signing import chain_problems
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.models import AuditEvent, StreamHead
from audit_app.recording import event_store
from audit_app.verification.stream_verifier import verify
from audit_app.verification.stream_walker import VerificationStats
from core.canonical_json import parsed_details
from environments_app.errors import SignOnUnavailable
from environments_app.models import (
    ClientAuth,
    Delivery,
    DeliveryState,
    Departure,
    OidcProvider,
    ServiceToken,
    Session,
    TokenRole,
)
from environments_app.oidc.providers import open_secret
from operations_app.backup.archive import rows
from operations_app.backup.archive.format import open_backup
from operations_app.backup.archive.manifest import Manifest
from operations_app.backup.errors import BackupError
from operations_app.backup.restore import restore, suspendables
from operations_app.backup.verification import scratch_database
from operations_app.health.schema import missing_migrations
from secrets_app.errors import KeyUnavailable
from secrets_app.keys.sealed_columns import credential_fields
from secrets_app.models import SecretVersion

# A restore adds to these: the discontinuity, what it suspended, and that no place is active.
_GROWING: Final = frozenset(
    {"audit_app.AuditEvent", "audit_app.StreamHead", "audit_app.Installation", "auditlog.LogEntry"}
)
_DOUBTS_SHOWN: Final = 20
_ONLY_AFTER_RELEASE: Final = ", which is right only after `keeper release`"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared: what was found, and each doubt that is left."""

    name: str
    said: str
    doubts: list[str] = field(default_factory=list)


def restore_drill(path: Path) -> Iterator[Check]:
    """Restore a backup into a throw-away database, and yield how that compares with the backup.

    For a process of its own. Raises what `restore` raises.
    """
    with scratch_database(tables=False):
        done = restore(path)
        manifest = done.proof.manifest
        yield Check(
            name="restored",
            said=f"proved and restored into an empty {connection.vendor} database, "
            f"{sum(manifest.counts.values()):,} rows",
        )
        yield from compare(path)


def compare(path: Path) -> Iterator[Check]:
    """Yield how what the database holds compares with the backup that was just restored to it.

    Raises what opening the backup raises, and BackupError if the database has not the tables of this release.
    """
    recorder = MigrationRecorder(connection)
    if not recorder.has_table() or missing_migrations():
        raise BackupError("the database lacks tables of this release: restore the backup to it first")
    with open_backup(path) as file:
        manifest, digest = file.manifest, file.digest()[0]
    yield _counts(manifest)
    yield _heads(manifest)
    found = list(run_checks())
    yield _values(manifest, [problem for problem in found if problem.kind == "version"])
    edited = [problem for problem in found if problem.kind != "version"]
    yield _check("rows", "every row that decides is one that Keeper wrote", _told(edited))
    yield _trail(manifest, digest)
    yield _people()
    yield _nothing_acts()


def _counts(manifest: Manifest) -> Check:
    now = {rows.label(model): rows.count(model) for model in rows.tables()}
    doubts = [
        f"{name} holds {now.get(name, 0):,} rows, and the backup {count:,}"
        for name, count in manifest.counts.items()
        if (now.get(name, 0) < count if name in _GROWING else now.get(name) != count)
    ]
    label = rows.label(AuditEvent)
    added = now[label] - manifest.counts.get(label, 0)
    total = StreamHead.objects.aggregate(total=Sum("sequence"))["total"] or 0
    grown = total - sum(head.sequence for head in manifest.heads.values())
    if added != grown:
        doubts.append(f"{added:,} events came to those of the backup, and the heads say {grown:,}")
    said = f"{len(manifest.counts)} tables hold what the manifest counts, and {added:,} events of the restore"
    return _check("counts", said, doubts)


def _heads(manifest: Manifest) -> Check:
    doubts = []
    for stream, head in manifest.heads.items():
        if not head.sequence:
            continue
        links = event_store.links(stream, after=head.sequence - 1, until=head.sequence, limit=1)
        if not links or links[0].hash.hex() != head.hash:
            doubts.append(f"stream {stream} does not go on from event {head.sequence} of the backup")
    return _check("heads", f"{len(manifest.heads)} streams go on from the heads of the manifest", doubts)


def _values(manifest: Manifest, problems: list[Problem]) -> Check:
    label = rows.label(SecretVersion)
    doubts, credentials = _told(problems), 0
    for column in credential_fields():
        every: QuerySet[Any] = QuerySet(column.model)
        for row in every.select_related("environment").order_by("pk").iterator(chunk_size=200):
            credentials += 1
            if not _opens(getattr(row, column.attname)):
                doubts.append(f"{column.label} {row.uuid}: the credential does not open")
    said = (
        f"{manifest.counts.get(label, 0):,} values open and are those that were written, and "
        f"{credentials:,} credentials open"
    )
    return _check("values", said, doubts)


def _opens(sealed: Any) -> bool:
    try:
        return sealed is None or bool(sealed.can_decrypt())
    except KeyUnavailable:
        return False


def _trail(manifest: Manifest, digest: str) -> Check:
    newest, tally = newest_checkpoint(), VerificationStats()
    known = {stream: [head] for stream, head in newest.statement.heads.items()} if newest else {}
    doubts = _told(chain(chain_problems(None), verify(known=known, tally=tally)))
    discontinuities = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_RESTORE)
    discontinuity = discontinuities.filter(object_uuid=manifest.backup).order_by("-sequence").first()
    if discontinuity is None or parsed_details(discontinuity.details).get("sha256") != digest:
        doubts.append("no discontinuity in the audit log names this file")
    counted = f"{tally.events:,} events in {tally.streams} streams"
    said = f"{counted} are sound, and the discontinuity names this backup"
    return _check("trail", said, doubts)


def _people() -> Check:
    """Check that people can sign in as before, that departures go on, and that no SCIM client calls yet."""
    doubts, providers = [], list(OidcProvider.objects.order_by("slug"))
    for provider in providers:
        try:
            if provider.client_auth != ClientAuth.PRIVATE_KEY_JWT:
                open_secret(provider)
        except SignOnUnavailable:
            doubts.append(f"the client secret of the sign-in provider {provider.slug} does not open")
    tokens = ServiceToken.objects.filter(role=TokenRole.PROVISIONER, revoked_at=None)
    if calling := tokens.filter(suspended_at=None).count():
        doubts.append(f"{calling:,} tokens of SCIM clients act{_ONLY_AFTER_RELEASE}")
    departures = Departure.objects.filter(open=True).count()
    said = (
        f"{len(providers)} sign-in providers as they were, {departures:,} open departures that go on, "
        f"{tokens.count():,} tokens of SCIM clients that wait"
    )
    return _check("people", said, doubts)


def _nothing_acts() -> Check:
    doubts, suspended = [], []
    for each in suspendables():
        suspended.append(f"{each.suspended():,} of kind {each.kind}")
        if acting := each.acting():
            doubts.append(f"{acting:,} of kind {each.kind} act{_ONLY_AFTER_RELEASE}")
    if is_active():
        doubts.append("this installation is the active one, which is right only after `keeper activate`")
    left = {
        "sessions go on": Session.objects.count(),
        "messages wait to be sent": Delivery.objects.filter(state=DeliveryState.WAITING).count(),
    }
    doubts += [f"{count:,} {what}" for what, count in left.items() if count]
    return _check("suspended", f"{', '.join(suspended)}; no session, no message, not active", doubts)


def _told(problems: Iterable[Problem]) -> list[str]:
    return [f"{problem.kind}: {problem.object}: {problem.message}" for problem in problems]


def _check(name: str, said: str, doubts: list[str]) -> Check:
    shown = list(islice(doubts, _DOUBTS_SHOWN))
    if len(doubts) > len(shown):
        shown.append(f"and {len(doubts) - len(shown):,} more")
    return Check(name=name, said="" if doubts else said, doubts=shown)
