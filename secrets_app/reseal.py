"""Seals an environment's values again under a new data key, in batches, while the service runs.

A batch is recorded and committed first, as one event with its manifest; then its values are opened
and sealed in memory, and each row is replaced only if it still holds the envelope that was read.
A version that is purged or re-sealed meanwhile is so left alone. A run that was interrupted is
taken up by the next one, under the data key that it had made.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit_app import actors
from audit_app.actions import Action
from audit_app.models import AuditEvent
from audit_app.record import AuditObject, Receipt, commit_record
from audit_app.streams import environment_stream
from environments_app.models import Environment
from secrets_app import data_keys
from secrets_app.envelope.seal import PlainKey
from secrets_app.errors import EnvelopeError, KeyRefused, RotationSuperseded
from secrets_app.fields import Sealed
from secrets_app.models import DataKey, SecretVersion
from secrets_app.models.data_key import VALUES

# Two hundred of the largest values are 13 MB, and a transaction of a few tenths of a second.
BATCH: Final = 200

Progress = Callable[[int, int], None]


@dataclass(kw_only=True)
class Resealed:
    """How far the values of an environment are sealed under a data key.

    `broken` names, by version, what does not open and so stays as it is.
    """

    data_key: UUID
    values: int = 0
    broken: dict[int, str] = field(default_factory=dict)


def reseal(environment: Environment, *, progress: Progress, batch_size: int = 0) -> Resealed | None:
    """Seal every value of an environment under a new data key; None if it never had one.

    `progress` is told after each batch how many values are done, and of how many. Raises
    RotationSuperseded if another rotation, or age, replaces the new data key meanwhile, and
    KeyUnavailable or KeyRefused if a key cannot be used; a repeated call continues.
    """
    if not DataKey.objects.filter(scope=environment.uuid, purpose=VALUES).exists():
        return None
    key = _new_key(environment)
    result = _sealed_under(
        environment, key, _under_other_keys(environment, key.id), progress, batch_size or BATCH
    )
    _record(environment, key, {"step": "finished", "values": result.values, "broken": len(result.broken)})
    return result


def reseal_legacy(environment: Environment, *, progress: Progress, batch_size: int = 0) -> Resealed | None:
    """Seal what an environment has of the older scheme under its active data key; None if there is none.

    Raises as `reseal` does; a repeated call continues.
    """
    rows = legacy_rows().filter(secret__environment=environment)
    if not rows.exists():
        return None
    key = data_keys.active_key(environment)
    return _sealed_under(environment, key, rows, progress, batch_size or BATCH)


def legacy_rows() -> QuerySet[SecretVersion]:
    """Return the versions whose value is still of the older scheme."""
    return SecretVersion.objects.filter(data_key=None).select_related("secret").order_by("pk")


def _new_key(environment: Environment) -> PlainKey:
    if _is_unfinished(environment):
        return data_keys.active_key(environment)
    return data_keys.replace_key(environment)


def _is_unfinished(environment: Environment) -> bool:
    """Say whether the active data key was made by a rotation that never came to its end."""
    row = DataKey.objects.filter(scope=environment.uuid, purpose=VALUES, active=True).first()
    if row is None:
        return False
    events = AuditEvent.objects.filter(object_uuid=row.uuid)
    made = events.filter(action=Action.DATA_KEY_CREATE, details__contains='"reason":"rotation"')
    ended = events.filter(action=Action.DATA_KEY_ROTATE, details__contains='"step":"finished"')
    return made.exists() and not ended.exists()


def _under_other_keys(environment: Environment, data_key: UUID) -> QuerySet[SecretVersion]:
    rows = SecretVersion.objects.filter(secret__environment=environment).exclude(data_key__uuid=data_key)
    return rows.select_related("secret").order_by("pk")


def _sealed_under(
    environment: Environment, key: PlainKey, rows: QuerySet[SecretVersion], progress: Progress, size: int
) -> Resealed:
    result = Resealed(data_key=key.id)
    total = rows.count()
    # Who was about to write under the old key when the new one came is found by another pass.
    while _pass(environment, key, rows, result, lambda: progress(result.values, total), size):
        pass
    return result


def _pass(
    environment: Environment,
    key: PlainKey,
    pending: QuerySet[SecretVersion],
    result: Resealed,
    tell: Callable[[], None],
    size: int,
) -> int:
    """Go once through what is to be sealed; return how many values were."""
    before, last = result.values, 0
    while batch := list(pending.filter(pk__gt=last)[:size]):
        last = batch[-1].pk
        rows = [row for row in batch if row.pk not in result.broken]
        if rows:
            _require_active(key.id)
            result.values += _reseal_batch(environment, key, rows, result.broken)
            tell()
    return result.values - before


def _require_active(data_key: UUID) -> None:
    if not DataKey.objects.filter(uuid=data_key, active=True).exists():
        raise RotationSuperseded(f"data key {data_key} was itself replaced meanwhile: run the command again")


def _reseal_batch(
    environment: Environment, key: PlainKey, rows: Sequence[SecretVersion], broken: dict[int, str]
) -> int:
    for row in rows:
        row.secret.environment = environment
    receipt = _record(environment, key, {"step": "reseal", "count": len(rows)}, rows)
    fresh = []
    for row in rows:
        try:
            fresh.append((row, _sealed_again(row, key, receipt)))
        except (EnvelopeError, KeyRefused) as error:
            # Opening has reported the violation; the other values must not wait for it.
            broken[row.pk] = f"version {row.number} of secret {row.secret.uuid}: {error}"
    return _replace(fresh, key.id)


def _sealed_again(row: SecretVersion, key: PlainKey, receipt: Receipt) -> Sealed:
    return Sealed.of(row.value.open(receipt), data_key=key, context=row.sealing_context())


def _replace(fresh: Iterable[tuple[SecretVersion, Sealed]], data_key: UUID) -> int:
    with transaction.atomic():
        return sum(
            SecretVersion.objects.filter(pk=row.pk, value__envelope=row.value).update(
                value=sealed, data_key_id=data_key
            )
            for row, sealed in fresh
        )


def _record(
    environment: Environment,
    key: PlainKey,
    details: dict[str, str | int],
    rows: Sequence[SecretVersion] = (),
) -> Receipt:
    return commit_record(
        actor=actors.system(),
        action=Action.DATA_KEY_ROTATE,
        stream=environment_stream(environment.uuid),
        object=AuditObject("data_key", key.id, environment.name),
        details=dict(details),
        manifest=[row.secret.manifest_entry(row.number) for row in rows] or None,
        covers=frozenset(row.uuid for row in rows),
    )
