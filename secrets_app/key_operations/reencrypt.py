"""Seals an environment's values and credentials again under a new data key, while the service runs.

A batch is recorded and committed first, as one event with its manifest; then its values are opened and
sealed in memory, and each row is replaced only if it still holds the envelope that was read. A version that
is purged or re-sealed in the meantime is so left alone. A run that was interrupted is taken up by the next
one, under the data key that it had made. Credentials, which are few, are treated in the same way one by
one.

Versions are plain rows: model instances and an UPDATE through the ORM for each row would take most of a
re-sealing's time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Length

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject, ManifestEntry, Receipt
from audit_app.recording.recorder import commit_record
from core.db.bulk import update
from environments_app.models import Environment
from secrets_app.envelope import PlainKey
from secrets_app.errors import EnvelopeError, KeyRefused, RotationSuperseded
from secrets_app.keys import data_keys
from secrets_app.keys.encrypted_field import EncryptedField, Sealed
from secrets_app.keys.models import VALUES
from secrets_app.keys.sealed_columns import credential_fields, under_other_keys
from secrets_app.models import DataKey, SecretVersion
from secrets_app.rows import environment_snapshot
from secrets_app.rows.current_versions import EnvironmentValues

# How many bytes of envelopes a batch holds; their values and what they become come on top.
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024


class StoredValue(NamedTuple):
    """A version's row: its value, still sealed, and its place."""

    pk: int
    version: UUID
    number: int
    stored: Sealed
    secret: UUID
    name: str

    @property
    def manifest_entry(self) -> ManifestEntry:
        return ManifestEntry(secret_uuid=str(self.secret), number=self.number, name=self.name)


def next_batch(rows: QuerySet[SecretVersion], *, after: int, size: int) -> QuerySet[SecretVersion]:
    """Return the rows that follow a primary key: at most `size`, and at most 16 MiB of envelopes or one."""
    following = rows.filter(pk__gt=after).order_by("pk")
    last, total = after, 0
    for pk, length in following.values_list("pk", Length("value"))[:size]:
        total += length or 0
        if total > MAX_BATCH_BYTES and last != after:
            break
        last = pk
    return following.filter(pk__lte=last)


def stored_values(rows: QuerySet[SecretVersion]) -> list[StoredValue]:
    """Return these versions as plain rows, in their order."""
    columns = ("pk", "uuid", "number", "value", "secret__uuid", "secret__name")
    return [StoredValue(*row) for row in rows.values_list(*columns)]


def replace(fresh: Sequence[tuple[StoredValue, bytes]], data_key: UUID) -> int:
    """Give rows new envelopes under a data key, in one transaction; return how many rows took theirs.

    A row that no longer holds the envelope that was read, or is gone, stays as it is.
    """
    field = SecretVersion._meta.get_field("data_key")
    key = field.get_db_prep_value(data_key, connection)
    with transaction.atomic():
        return update(
            SecretVersion._meta.db_table,
            ("value", field.column),
            [(envelope, key, row.pk, row.stored.envelope) for row, envelope in fresh],
            key="id",
            binary=("value",),
            unless_changed="value",
        )


# A transaction of some tens of milliseconds, or a tenth of a second on a database elsewhere.
BATCH: Final = 1_000

Progress = Callable[[int, int], None]


@dataclass(kw_only=True)
class ReencryptionProgress:
    """How far the values of an environment are sealed under a data key.

    `broken` names, by the row's uuid, what does not open and so stays as it is.
    """

    data_key: UUID
    values: int = 0
    credentials: int = 0
    broken: dict[UUID, str] = field(default_factory=dict)


def reencrypt(
    environment: Environment, *, progress: Progress, batch_size: int = 0
) -> ReencryptionProgress | None:
    """Seal all that an environment has under a new data key; None if it never had one.

    `progress` is called after each batch with the number of values done, and the total. Raises
    RotationSuperseded if another rotation, or age, replaces the new data key in the meantime, and
    KeyUnavailable or KeyRefused if a key cannot be used; a repeated call continues.
    """
    if not DataKey.objects.filter(scope=environment.uuid, purpose=VALUES).exists():
        return None
    unfinished = _is_unfinished(environment)
    key = data_keys.active_key(environment) if unfinished else data_keys.replace_key(environment)
    stored = SecretVersion.objects.filter(secret__environment=environment, destroyed_at=None)
    rows = stored.exclude(data_key__uuid=key.id)
    result = _sealed_under(environment, key, rows.order_by("pk"), progress, batch_size or BATCH)
    result.credentials = _reseal_credentials(environment, key, result.broken)
    # Of rows that are gone by now; one of the rows of now is under the new key.
    environment_snapshot.forget(environment.pk)
    event_details = {"values": result.values, "credentials": result.credentials, "broken": len(result.broken)}
    _record(environment, key, {"step": "finished", **event_details})
    return result


def reseal_legacy(
    environment: Environment, *, progress: Progress, batch_size: int = 0
) -> ReencryptionProgress | None:
    """Seal what an environment has of the older scheme under its active data key; None if there is none.

    Raises as `reencrypt` does; a repeated call continues.
    """
    rows = legacy_rows().filter(secret__environment=environment)
    if not rows.exists():
        return None
    key = data_keys.active_key(environment)
    return _sealed_under(environment, key, rows, progress, batch_size or BATCH)


def legacy_rows() -> QuerySet[SecretVersion]:
    """Return the versions whose value is still of the older scheme."""
    return SecretVersion.objects.filter(data_key=None, destroyed_at=None).order_by("pk")


def _is_unfinished(environment: Environment) -> bool:
    """Return whether the active data key was made by a rotation that never came to its end."""
    row = DataKey.objects.filter(scope=environment.uuid, purpose=VALUES, active=True).first()
    if row is None:
        return False
    events = AuditEvent.objects.filter(object_uuid=row.uuid)
    made = events.filter(action=Action.DATA_KEY_CREATE, details__contains='"reason":"rotation"')
    ended = events.filter(action=Action.DATA_KEY_ROTATE, details__contains='"step":"finished"')
    return made.exists() and not ended.exists()


def _sealed_under(
    environment: Environment, key: PlainKey, rows: QuerySet[SecretVersion], progress: Progress, size: int
) -> ReencryptionProgress:
    result = ReencryptionProgress(data_key=key.id)
    total = rows.count()
    # Who was about to write under the old key when the new one came is found by another pass.
    while _pass(environment, key, rows, result, lambda: progress(result.values, total), size):
        pass
    return result


def _pass(
    environment: Environment,
    key: PlainKey,
    pending: QuerySet[SecretVersion],
    result: ReencryptionProgress,
    tell: Callable[[], None],
    size: int,
) -> int:
    before, last = result.values, 0
    while batch := stored_values(next_batch(pending, after=last, size=size)):
        last = batch[-1].pk
        rows = [row for row in batch if row.version not in result.broken]
        if rows:
            _require_active(key.id)
            result.values += _reseal_batch(environment, key, rows, result.broken)
            tell()
    return result.values - before


def _require_active(data_key: UUID) -> None:
    if not DataKey.objects.filter(uuid=data_key, active=True).exists():
        raise RotationSuperseded(f"data key {data_key} was itself replaced meanwhile: run the command again")


def _reseal_batch(
    environment: Environment, key: PlainKey, rows: Sequence[StoredValue], broken: dict[UUID, str]
) -> int:
    receipt = _record(
        environment,
        key,
        {"step": "reseal", "count": len(rows)},
        manifest=[row.manifest_entry for row in rows],
        covers=frozenset(row.version.bytes for row in rows),
    )
    values = EnvironmentValues(environment.uuid, receipt)
    fresh = []
    for row in rows:
        try:
            value = values.opened(
                row.stored.envelope,
                version=row.version,
                secret=row.secret,
                number=row.number,
                # No person sees it: it is sealed again in its place.
                guarded=False,
            )
        except (EnvelopeError, KeyRefused) as error:
            # Opening has reported the violation; the other values must not wait for it.
            broken[row.version] = f"version {row.number} of secret {row.secret}: {error}"
            continue
        envelope = values.sealed(
            value, data_key=key, version=row.version, secret=row.secret, number=row.number
        )
        fresh.append((row, envelope))
    return replace(fresh, key.id)


def _reseal_credentials(environment: Environment, key: PlainKey, broken: dict[UUID, str]) -> int:
    sealed = 0
    for column in credential_fields():
        pending = under_other_keys(column, environment, key.id)
        # As with values: another pass finds who was about to write under the old key.
        while done := sum(
            _reseal_credential(environment, key, column, row, broken)
            for row in list(pending.all())
            if row.uuid not in broken
        ):
            sealed += done
    return sealed


def _reseal_credential(
    environment: Environment, key: PlainKey, column: EncryptedField, row: Any, broken: dict[UUID, str]
) -> int:
    _require_active(key.id)
    row.environment = environment
    read: Sealed = getattr(row, column.attname)
    details = {"step": "reseal", "kind": column.label, "row": str(row.uuid)}
    receipt = _record(environment, key, details, covers=frozenset({row.uuid.bytes}))
    try:
        fresh = Sealed.of(read.open(receipt), data_key=key, context=column.context_of(row))
    except (EnvelopeError, KeyRefused) as error:
        broken[row.uuid] = f"{column.label} {row.uuid}: {error}"
        return 0
    unchanged: QuerySet[Any] = QuerySet(column.model).filter(pk=row.pk, **{f"{column.name}__envelope": read})
    return unchanged.update(**{column.name: fresh, "data_key_id": key.id})


def _record(
    environment: Environment,
    key: PlainKey,
    details: Mapping[str, str | int],
    *,
    manifest: Sequence[ManifestEntry] | None = None,
    covers: frozenset[bytes] = frozenset(),
) -> Receipt:
    return commit_record(
        actor=actors.system(),
        action=Action.DATA_KEY_ROTATE,
        stream=environment_stream(environment.uuid),
        object=AuditObject("data_key", key.id, environment.name),
        details=dict(details),
        manifest=manifest,
        covers=covers,
    )
