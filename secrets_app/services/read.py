"""Reveals values: only after the record of it is committed. No record, no value."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple, NoReturn
from uuid import UUID

import orjson

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.recording.drafts import (
    AuditObject,
    DigestedReads,
    EventDraft,
    Read,
    Receipt,
    stream_and_object,
)
from audit_app.recording.recorder import commit_records
from core.canonical_json import Json
from environments_app.approvals.program_releases import find_release
from environments_app.authorization.policy import Principal, allows, record_denial, require, require_confirmed
from environments_app.authorization.principals import refresh_principal
from environments_app.models import Environment, ProgramRelease
from secrets_app.errors import (
    GuardedValue,
    KeyUnavailable,
    MissingVersion,
    NoSuchVersion,
    SecretError,
    TooManyItems,
    VersionGone,
)
from secrets_app.keys import data_keys
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.version_rules import DESTROYED
from secrets_app.queries.lookup import require_authentic, require_on
from secrets_app.rows import environment_snapshot
from secrets_app.rows.current_versions import (
    MISSING,
    CurrentRow,
    EnvironmentValues,
    StoredRows,
    current_version_rows,
    judge,
    named_data_keys,
    stored_rows,
)
from secrets_app.services.decoys import note_missed, note_use

# What one read of many may hold in memory, several times over.
MAX_EXPORT: Final = 10_000
MAX_EXPORT_BYTES: Final = 64 * 1024 * 1024


class Stage(StrEnum):
    """Which of a secret's values is meant: the one served, the previous one, the one about to come."""

    CURRENT = "current"
    PREVIOUS = "previous"
    PENDING = "pending"


@dataclass(frozen=True, kw_only=True, repr=False)
class RevealedValue:
    """A revealed value; it has no repr."""

    version: SecretVersion
    value: str

    @property
    def secret(self) -> Secret:
        return self.version.secret

    @property
    def secret_type(self) -> str:
        """The type that the secret had when the version was written."""
        return self.secret.type_of(self.version.number)


class ExportedValue(NamedTuple):
    """A name and its value from a read of many; its repr shows neither."""

    name: str
    value: str

    def __repr__(self) -> str:
        return "Exported()"


# How many guarded secrets an answer with many values leaves out.
LEFT_OUT: Final = "Keeper-Left-Out"


class Exported(list[ExportedValue]):
    """What a read of many shows, and the names of the guarded secrets that it leaves out."""

    left_out: Sequence[str] = ()


# `_make` in C: of a thousand values it takes half the time.
_EXPORTED: Final[Callable[[tuple[str, str]], ExportedValue]] = partial(tuple.__new__, ExportedValue)


def version_of(secret: Secret, number: int) -> SecretVersion:
    """Return one version of a secret, still sealed. Raises NoSuchVersion, VersionGone if it was deleted."""
    require_readable_version(secret, number)
    version = SecretVersion.objects.filter(secret_id=secret.pk, number=number).first()
    if version is None:
        raise NoSuchVersion(f"The secret has no version {number}.")
    version.secret = secret
    return version


def require_readable_version(secret: Secret, number: int) -> None:
    """Refuse a version that was deleted or destroyed. Raises VersionGone."""
    state = secret.rules.state(number)
    if state == DESTROYED:
        raise VersionGone(f"Version {number} was destroyed. Its value is gone. Read another version.")
    if state:
        raise VersionGone(f"Version {number} is deleted. Restore it, or read another version.")


def current_version_of(secret: Secret) -> SecretVersion:
    """Return the version that readers get, still sealed.

    Raises MissingVersion, and reports it, if it was removed or re-pointed outside Keeper.
    """
    try:
        return version_of(secret, secret.current_number)
    except VersionGone:
        raise
    except NoSuchVersion as error:
        raise _missing(secret.uuid, secret.name) from error


def _missing(secret: UUID, name: str) -> MissingVersion:
    reason = "the secret's current version was removed, or re-pointed, outside Keeper"
    record_integrity_violation(kind="secret", uuid=secret, name=name, reason=reason)
    return MissingVersion(reason)


def reveal(
    *,
    actor: Principal,
    secret: Secret,
    number: int | None = None,
    details: Mapping[str, Json] = MappingProxyType({}),
) -> RevealedValue:
    """Show the value of a secret's current version, or of version `number`; `details` go into the event.

    Raises NoSuchVersion, TamperedSecret, KeyUnavailable if the data key cannot be had,
    EnvelopeError if the stored value was tampered with, and Forbidden or Invisible. Each is
    recorded. Raises GuardedValue for a guarded secret, which `guarded.open_released` shows, but for a program
    that is released for it.
    """
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    require_authentic(secret)
    version = current_version_of(secret) if number is None else version_of(secret, number)
    if secret.guarded and actor.kind is ActorKind.TOKEN:
        value = _open_for_program(actor, version, details)
    else:
        value = open_version(actor=actor, version=version, action=Action.SECRET_REVEAL, details=details)
    return RevealedValue(version=version, value=value)


def _open_for_program(actor: Principal, version: SecretVersion, details: Mapping[str, Json]) -> str:
    """Show a guarded value to a program that is released for it, and is so still once it was opened."""
    secret, action = version.secret, Action.SECRET_REVEAL
    release = _release_for(actor, secret)
    if release is None:
        refuse_guarded(actor, action, secret)
    named = {**details, "release": str(release.uuid)}
    value = open_version(actor=actor, version=version, action=action, details=named, released=True)
    now, stored = refresh_principal(actor), Secret.objects.filter(pk=secret.pk).first()
    if stored is None:
        refuse_guarded(actor, action, secret)
    stored.environment = secret.environment
    require_on(actor=now, action=action, secret=stored)
    if stored.guarded and _release_for(now, stored) is None:
        refuse_guarded(actor, action, secret)
    return value


def _release_for(actor: Principal, secret: Secret) -> ProgramRelease | None:
    return find_release(actor, environment=secret.environment, secret=secret.uuid, name=secret.name)


def stage_number(secret: Secret, stage: Stage) -> int:
    """Return the number of the version that a secret holds at a stage. Raises NoSuchVersion."""
    numbers = {
        Stage.CURRENT: secret.current_number,
        Stage.PREVIOUS: secret.previous_number,
        Stage.PENDING: secret.pending_number,
    }
    number = numbers[stage]
    if number is None:
        raise NoSuchVersion(f"The secret has no {stage} value.")
    return number


def open_version(
    *,
    actor: Principal,
    version: SecretVersion,
    action: Action,
    details: Mapping[str, Json],
    released: bool = False,
) -> str:
    """Record the opening of a version, commit the record, and only then open it.

    For use cases that have asked the policy already. A failed opening adds a second event. `released`: a
    second person has agreed to this read, or nobody sees the value. The alert of a decoy is committed before.
    Raises GuardedValue, recorded.
    """
    secret = version.secret
    if secret.guarded and not released:
        refuse_guarded(actor, action, secret)
    if secret.decoy:
        note_use(actor=actor, secret=secret, action=action, details=details)
    draft = EventDraft(
        actor=actor,
        action=action,
        **stream_and_object(secret),
        details={**details, "number": version.number},
        covers=frozenset({version.uuid.bytes}),
        released=released or bool(secret.decoy),
    )
    return open_granted(version.value, commit_records([draft])[0], draft)


def open_granted(value: Sealed, receipt: Receipt, draft: EventDraft) -> str:
    """Return a value whose opening is recorded; a failed opening adds a second event.

    Raises as `Sealed.open` does.
    """
    try:
        return value.open(receipt).decode()
    except SecretError as error:
        _record_failure(draft, error)
        raise


def refuse_guarded(actor: Principal, action: Action, secret: Secret) -> NoReturn:
    """Record that a guarded value was not shown. Raises GuardedValue."""
    if secret.decoy:
        note_use(actor=actor, secret=secret, action=action)
    record_denial(
        actor=actor,
        action=action,
        environment=secret.environment,
        name=secret.name,
        object=secret.audit_object,
        reason="guarded",
    )
    raise GuardedValue(program=actor.kind is ActorKind.TOKEN)


def reveal_environment(
    *, actor: Principal, environment: Environment, prefix: str = "", names: Collection[str] | None = None
) -> Exported:
    """Show the current values of an environment, or of the names under a prefix, in the order of names.

    `names` takes of these the ones that it holds.

    One event with a manifest records them all. Where the actor's grants reach only a part,
    that part is the answer. A secret whose row was edited outside Keeper is left out and
    reported, a guarded one is left out and named, and a decoy is left out; a value that is missing or does
    not open fails the whole read: an incomplete result could be mistaken for all.

    Who lost the right while values were being opened gets none of them.

    Raises Forbidden or Invisible if the grants reach nothing, ConfirmationNeeded, TooManyItems beyond
    10,000 secrets or 64 MiB, KeyUnavailable, EnvelopeError.
    """
    read = _Export(actor, environment, prefix)
    stored = _stored_rows(actor, environment) if not prefix and names is None else None
    snapshot = environment_snapshot.find(environment, stored) if stored else None
    if stored is None or snapshot is None:
        return _from_rows(read, stored, names)
    outdated = snapshot.is_outdated(stored)
    shown = _from_snapshot(read, stored, snapshot)
    if shown is None:
        return _from_rows(read, stored, names)
    values = environment_snapshot.values_of(shown)
    if outdated:
        environment_snapshot.prepare(environment, stored, values)
    return Exported(map(_EXPORTED, values.items()))


def export_snapshot(*, actor: Principal, environment: Environment) -> bytes | None:
    """Return all values of an environment as one JSON object, if it has a snapshot of its rows; else None.

    It checks and records what `reveal_environment` does, which decides whatever is None here. Raises as that.
    """
    snapshot = environment_snapshot.stored_snapshot(environment)
    stored = _stored_rows(actor, environment) if snapshot else None
    if snapshot is None or stored is None or snapshot.is_outdated(stored):
        return None
    return _from_snapshot(_Export(actor, environment, ""), stored, snapshot)


class _Export(NamedTuple):
    """One read of many: by whom, and of what."""

    actor: Principal
    environment: Environment
    prefix: str

    def draft(
        self, manifest: Sequence[Read] | DigestedReads, covers: frozenset[bytes], *, count: int
    ) -> EventDraft:
        """Return the event of the read."""
        environment = self.environment
        return EventDraft(
            actor=self.actor,
            action=Action.SECRET_EXPORT,
            stream=environment_stream(environment.uuid),
            object=AuditObject("environment", environment.uuid, environment.name),
            details={"prefix": self.prefix, "count": count},
            manifest=manifest,
            covers=covers,
        )


def _require_still(read: _Export, names: Iterable[str]) -> None:
    """Refuse, on record, who lost the right to any of these since the read began."""
    now, environment = refresh_principal(read.actor), read.environment
    if not allows(now, Action.SECRET_EXPORT, environment_id=environment.pk):
        for name in names:
            require(actor=now, action=Action.SECRET_EXPORT, environment=environment, name=name)


def _stored_rows(actor: Principal, environment: Environment) -> StoredRows | None:
    """Return all rows of an environment as they are stored, if the actor may read it whole, in one read."""
    if not _reaches(actor, environment, "", ""):
        return None
    return stored_rows(environment, limit=MAX_EXPORT, limit_bytes=MAX_EXPORT_BYTES)


def _from_snapshot(read: _Export, stored: StoredRows, snapshot: environment_snapshot.Found) -> bytes | None:
    """Return what a snapshot holds of these rows, with the values of the rows that are others by now.

    None where the rows decide: most are others, one of these is not to be shown as it is, or the snapshot
    does not open, which is on record.
    """
    changed = snapshot.others(stored)
    others = [] if changed is None else judge(changed, read.environment)
    if changed is None or len(others) != len(changed) or not all(map(_is_plain, others)):
        return None
    require_confirmed(read.actor)
    covers = frozenset({snapshot.uuid.bytes, *(row.version for row in others)})
    draft = read.draft(environment_snapshot.reads_of(stored), covers, count=len(stored.rows))
    receipt = commit_records([draft])[0]
    try:
        values = snapshot.sealed.open(receipt)
    except SecretError as error:
        _record_failure(draft, error)
        if isinstance(error, KeyUnavailable):
            raise
        return None
    if snapshot.row_digests != stored.row_digests:
        names = (row.name for row in others)
        opened = dict(zip(names, _open_all(read, others, receipt, draft), strict=True))
        values = orjson.dumps(snapshot.merged(values, stored, opened))
    _require_still(read, stored.names())
    return values


def _is_plain(row: CurrentRow) -> bool:
    return row.is_authentic and row.version != MISSING and not row.guarded


def _from_rows(read: _Export, stored: StoredRows | None, names: Collection[str] | None) -> Exported:
    """Prove the rows that the actor may read, and open them one by one."""
    readable = _readable_rows(read, stored, names)
    note_missed(
        actor=read.actor,
        environment=read.environment,
        prefix=read.prefix,
        names=names,
        found=bool(readable),
    )
    rows = [row for row in readable if not row.guarded]
    require_confirmed(read.actor)
    reads = [(row.secret, row.number, row.name) for row in rows]
    equal = stored if stored is not None and reads == stored.reads() else None
    again = equal is not None and environment_snapshot.was_read(equal)
    manifest = environment_snapshot.reads_of(equal) if equal else reads
    draft = read.draft(manifest, frozenset(row.version for row in rows), count=len(rows))
    values = _open_all(read, rows, commit_records([draft])[0], draft)
    _require_still(read, (row.name for row in rows))
    shown = Exported(ExportedValue(row.name, value) for row, value in zip(rows, values, strict=True))
    if equal and again:
        environment_snapshot.prepare(read.environment, equal, dict(shown))
    shown.left_out = [row.name for row in readable if row.guarded]
    return shown


def _open_all(read: _Export, rows: Sequence[CurrentRow], receipt: Receipt, draft: EventDraft) -> list[str]:
    """Open rows one by one; a failed opening adds a second event."""
    try:
        data_keys.prefetch(named_data_keys(row.envelope for row in rows))
        opener = EnvironmentValues(read.environment.uuid, receipt)
        return [value.decode() for value in opener.opened_all(rows)]
    except SecretError as error:
        _record_failure(draft, error)
        raise


def _readable_rows(
    read: _Export, stored: StoredRows | None, names: Collection[str] | None
) -> list[CurrentRow]:
    actor, environment, prefix = read
    if not any(grant.environment_id == environment.pk for grant in actor.grants):
        require(actor=actor, action=Action.SECRET_EXPORT, environment=environment)
    found, size = [], 0
    # Who may read the whole environment is not asked about again for each name.
    every = not prefix and _reaches(actor, environment, "", "")
    rows = judge(stored.rows, environment) if stored else current_version_rows(environment, prefix)
    for row in rows:
        version, secret, name, _, envelope, is_authentic, _ = row
        if names is not None and name not in names:
            continue
        if every or _reaches(actor, environment, name, prefix):
            if not is_authentic:
                reason = "the secret's row was not written by Keeper"
                record_integrity_violation(kind="secret", uuid=UUID(secret), name=name, reason=reason)
                continue
            if version == MISSING:
                raise _missing(UUID(secret), name)
            found.append(row)
            size += len(envelope)
        if len(found) > MAX_EXPORT or size > MAX_EXPORT_BYTES:
            raise TooManyItems(
                f"One read takes at most {MAX_EXPORT:,} secrets and {MAX_EXPORT_BYTES >> 20} MiB. "
                "Read a part of them by a prefix; nothing was shown."
            )
    own = [grant.prefix for grant in actor.grants if grant.environment_id == environment.pk]
    if not found and not any(_reaches(actor, environment, part, prefix) for part in own):
        # Nothing exists, or nothing that the actor may read: the policy decides which error.
        require(actor=actor, action=Action.SECRET_EXPORT, environment=environment, name=prefix)
    return found


def _reaches(actor: Principal, environment: Environment, name: str, prefix: str) -> bool:
    inside = not prefix or name == prefix or name.startswith(f"{prefix}/")
    return inside and allows(actor, Action.SECRET_EXPORT, environment_id=environment.pk, name=name)


def _record_failure(draft: EventDraft, error: SecretError) -> None:
    details = {**(draft.details or {}), "reason": type(error).__name__}
    failed = draft._replace(outcome=Outcome.FAILED, details=details, manifest=None, covers=frozenset())
    commit_records([failed])


def require_readable(*, actor: Principal, secret: Secret) -> None:
    """Ask for the right to reveal a secret, for use cases that take its value elsewhere.

    Raises GuardedValue: a release lets one person see a value, and takes it nowhere. It is a use of a decoy.
    """
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    require_authentic(secret)
    if secret.guarded:
        refuse_guarded(actor, Action.SECRET_REVEAL, secret)
    if secret.decoy:
        note_use(actor=actor, secret=secret, action=Action.SECRET_REVEAL)
