"""The integrity checks of secrets: row MACs are valid, versions decrypt to the written values.

Values are decrypted for comparison with their fingerprints and never returned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.check_registry import Problem
from audit_app.integrity.row_state import batches, check_rows, listed_rows
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.models import Environment
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.keys import data_keys
from secrets_app.models import (
    DepartureValue,
    KeyMigration,
    Secret,
    SecretVersion,
    Share,
    VersionOrigin,
    Webhook,
    WrappedRead,
)
from secrets_app.services.share import CHANGES as SHARE_CHANGES
from secrets_app.services.wrapped_reads import CHANGES as WRAPPING_CHANGES
from secrets_app.values.versions import matches_digest, matches_listed

# Two hundred of the largest envelopes are 13 MB.
_BATCH: Final = 200
_EDITED: Final = "the row was not written by Keeper, and does nothing"
_CHANGES: Final = (
    Action.SECRET_CREATE, Action.SECRET_UPDATE, Action.SECRET_ROLLBACK, Action.SECRET_RENAME,
    Action.SECRET_DELETE, Action.SECRET_RESTORE, Action.SECRET_PURGE, Action.SECRET_STAGE,
    Action.SECRET_ROTATE, Action.SECRET_UNSTAGE, Action.SECRET_DESTROY, Action.SECRET_MIGRATE,
    Action.SECRET_GUARD, Action.SECRET_UNGUARD, Action.SECRET_DECOY_SET, Action.SECRET_DECOY_END,
)  # fmt: skip
_WRITES: Final = (Action.SECRET_CREATE, Action.SECRET_UPDATE, Action.SECRET_ROLLBACK, Action.SECRET_STAGE)


def secrets() -> Iterator[Problem]:
    """Find secrets whose row was edited outside Keeper, or put back to an older state."""
    edited = "the name, environment or current version was not written by Keeper"
    return check_rows(Secret.objects.prefetch_related("environment"), edited, _CHANGES, kind="secret")


def origins() -> Iterator[Problem]:
    """Find origins of carried versions that Keeper did not write."""
    return check_rows(VersionOrigin.objects.prefetch_related("version"), _EDITED)


def departures() -> Iterator[Problem]:
    """Find values of departures that Keeper did not write: what a person knows, and who keeps it."""
    return check_rows(DepartureValue.objects.prefetch_related("departure", "secret"), _EDITED)


def shares() -> Iterator[Problem]:
    """Find shares that Keeper did not write, or that were put back to a state in which they open again."""
    related = ("environment", "secret", "shared_by", "recipient", "opened_by")
    edited = "what it opens, for whom or until when was not written by Keeper"
    return check_rows(Share.objects.prefetch_related(*related), edited, SHARE_CHANGES, kind="share")


def wrapped_reads() -> Iterator[Problem]:
    """Find wrapped reads that Keeper did not write, or that were put back to a state in which they open."""
    edited = "what it opens, by whose right or until when was not written by Keeper"
    rows = WrappedRead.objects.prefetch_related("environment", "secret")
    return check_rows(rows, edited, WRAPPING_CHANGES, kind="wrapped-read")


def webhooks() -> Iterator[Problem]:
    """Find webhooks that Keeper did not write, and removed ones that were restored."""
    changes = (Action.NOTIFICATION_CREATE, Action.NOTIFICATION_REMOVE)
    return check_rows(Webhook.objects.prefetch_related("environment"), _EDITED, changes)


def key_migrations() -> Iterator[Problem]:
    """Find migrations of keys that Keeper did not write, and an ended one that was opened again."""
    changes = (Action.KEY_MIGRATION_START, Action.KEY_MIGRATION_FINALISE, Action.KEY_MIGRATION_ROLLBACK)
    return check_rows(KeyMigration.objects.all(), _EDITED, changes)


def versions() -> Iterator[Problem]:
    """Find versions that do not open, differ from what their write event digested, or have no event."""
    last = 0
    while batch := version_batch(after=last):
        last = batch.last
        yield from batch.problems


@dataclass(frozen=True, kw_only=True)
class VersionBatch:
    """A batch of checked versions: the last id, the count, and the findings.

    `silent` is true if a key did not answer, so some findings may be no damage.
    """

    last: int
    checked: int
    problems: list[Problem]
    silent: bool


def version_batch(*, after: int) -> VersionBatch | None:
    """Look at the next versions, by their ids; None if there are no more."""
    rows = SecretVersion.objects.prefetch_related("secret__environment").filter(pk__gt=after)
    batch = list(rows.order_by("pk")[:_BATCH])
    if not batch:
        return None
    silent = _open_keys(batch)
    return VersionBatch(
        last=batch[-1].pk, checked=len(batch), problems=_problems(batch, _damage), silent=silent
    )


def of_environment(environment: Environment) -> Iterator[Problem]:
    """Find versions of an environment that were edited, inserted or lost outside Keeper; open no value."""
    last = 0
    rows = SecretVersion.objects.prefetch_related("secret__environment").order_by("pk")
    while batch := list(rows.filter(secret__environment=environment, pk__gt=last)[:_BATCH]):
        last = batch[-1].pk
        yield from _problems(batch, _damage_of_row)
    yield from losses(Secret.objects.filter(environment=environment))


def _problems(
    batch: Sequence[SecretVersion], damage_of: Callable[[SecretVersion, "_Write | None"], str]
) -> list[Problem]:
    writes = _writes({uuid for version in batch if (uuid := _secret_uuid(version))})
    pairs = [(version, _write_of(version, writes)) for version in batch]
    damage = ((version, write, damage_of(version, write)) for version, write in pairs)
    return [
        Problem(
            kind="version",
            object=f"version {version.number} of secret {version.secret_id} ({version.uuid})",
            message=message,
            stream=write.stream if write else "",
            sequence=write.sequence if write else None,
        )
        for version, write, message in damage
        if message
    ]


def losses(secrets: QuerySet[Secret] | None = None) -> Iterator[Problem]:
    """Find versions that the audit log records as written but that are missing while their secret exists.

    A missing secret is found by the check of row states (row_state.py). The removal of an environment takes
    the versions before their secrets.
    """
    rows = Secret.objects.all() if secrets is None else secrets
    in_removal = Environment.every.filter(purge_began_at__isnull=False)
    for batch in batches(rows.exclude(environment__in=in_removal)):
        # The events first: a version that is written in the meantime is then not missed.
        writes = _writes({secret.uuid for secret in batch})
        stored = SecretVersion.objects.filter(secret__in=[secret.pk for secret in batch])
        keys: set[_Key] = set()
        for uuid, secret, number in stored.values_list("uuid", "secret__uuid", "number"):
            keys |= {uuid, (secret, number)}
        there = set(Secret.objects.filter(pk__in=[s.pk for s in batch]).values_list("uuid", flat=True))
        for key in writes.keys() - keys:
            write = writes[key]
            if write.secret in there:
                which = write.number if isinstance(key, tuple) else key
                yield Problem(
                    kind="loss",
                    object=f"version {which} of secret {write.name}",
                    message="it was written and not purged, and is gone",
                    stream=write.stream,
                    sequence=write.sequence,
                )


class _Write(NamedTuple):
    """What the audit log has of the write of a version; `is_listed` if the manifest of an event has it."""

    secret: UUID
    name: str
    number: object
    digest: str
    stream: str
    sequence: int
    is_listed: bool


# A version by its uuid; one that a manifest lists by its secret and number.
_Key: TypeAlias = UUID | tuple[UUID, object]


def _writes(secrets: set[UUID]) -> dict[_Key, _Write]:
    listed: dict[_Key, _Write] = {
        (row.uuid, row.number): _Write(
            row.uuid, row.name, row.number, str(row.version_digest), *row.position[:2], is_listed=True
        )
        for row in listed_rows(secrets)
    }
    events = AuditEvent.objects.filter(
        object_uuid__in=secrets, action__in=_WRITES, outcome=Outcome.ALLOWED, object_kind="secret"
    )
    columns = events.values_list("details", "object_uuid", "object_name", "stream", "sequence")
    found: dict[_Key, _Write] = {}
    for text, secret, name, stream, sequence in columns.iterator(chunk_size=_BATCH):
        details = parsed_details(text)
        if written := _uuid(details.get("version")):
            number, digest = details.get("number"), str(details.get("digest"))
            found[written] = _Write(secret, name, number, digest, stream, sequence, is_listed=False)
    return listed | found


def _write_of(version: SecretVersion, writes: Mapping[_Key, _Write]) -> _Write | None:
    secret = _secret_uuid(version)
    listed = writes.get((secret, version.number)) if secret else None
    return writes.get(version.uuid, listed)


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _secret_uuid(version: SecretVersion) -> UUID | None:
    try:
        secret: UUID = version.secret.uuid
    except ObjectDoesNotExist:
        return None
    return secret


def _open_keys(versions: Sequence[SecretVersion]) -> bool:
    """Open the data keys of a batch at once; return whether one gave no answer that lasts.

    A key that does not open is reported through its versions.
    """
    silent = False
    for data_key_id in {version.data_key_id for version in versions}:
        try:
            data_keys.prefetch([data_key_id])
        except KeyUnavailable as error:
            silent = silent or not error.permanent
        except (EnvelopeError, KeyRefused):
            continue
    return silent


def _damage(version: SecretVersion, write: _Write | None) -> str:
    if found := _damage_of_row(version, write):
        return found
    return "" if version.number in version.secret.rules.destroyed else _damage_of_value(version)


def _damage_of_row(version: SecretVersion, write: _Write | None) -> str:
    if write is None:
        return "no event says that this version was written"
    matches = matches_listed if write.is_listed else matches_digest
    if write.number != version.number or not matches(version, write.digest):
        return "the version is not the one that its event says was written"
    if version.number in version.secret.rules.destroyed:
        return "a value is stored of a version that was destroyed" if version.value.envelope else ""
    return ""


def _damage_of_value(version: SecretVersion) -> str:
    try:
        sound = version.value.matches_fingerprint(bytes(version.fingerprint))
        named = sound and version.value.data_key_id == version.data_key_id
    except ObjectDoesNotExist:
        return "the environment that the value was sealed for is missing"
    except KeyUnavailable as error:
        return f"the value cannot be checked: {error}"
    if not sound:
        return "the sealed value does not open, or is not the one that was written"
    return "" if named else "the data key is not the one that sealed the value"
