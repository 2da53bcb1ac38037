"""Stores secrets with the versions that they have in another system, and further versions of those.

One transaction and one event for each call; the manifest of the event lists each version (ADR 22).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import state_digest
from audit_app.recording import event_store
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from core.canonical_json import Json
from core.db import bulk, prepared
from core.db.bulk import in_batches
from core.db.identity import ordered_uuids, uuid_text
from core.db.statements import write_all
from environments_app.approvals.gate import ApprovalGrant
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.principals import refresh_principal
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, NameTaken, StaleVersion
from secrets_app.interfaces import Confirm, run_write_guards
from secrets_app.keys.data_keys import active_key
from secrets_app.models import Secret, SecretVersion, VersionOrigin, VersionRules
from secrets_app.models.origin import MAX_AUTHOR
from secrets_app.models.version_rules import DELETED, NEVER
from secrets_app.queries.lookup import require_authentic
from secrets_app.rows.bulk_insert import (
    Described,
    NewRow,
    NewRows,
    NewVersion,
    Standing,
    insert_rows,
    insert_versions,
)
from secrets_app.rows.store import check_etag, notify_listeners
from secrets_app.types.bounds import check_bounds
from secrets_app.types.registry import SecretType, inspect
from secrets_app.values.metadata import MAX_COMMENT, Metadata, apply_facts, checked_metadata, effective_expiry
from secrets_app.values.names import validate_secret_name
from secrets_app.values.versions import first_numbers, guarded_names, guards_as_before

MAX_HISTORIES: Final = 200
_RIGHTS: Final = (Action.SECRET_IMPORT, Action.SECRET_CREATE)
CARRIED: Final = "carried"
_MEANWHILE: Final = "The secret was changed in Keeper meanwhile. Nothing was written. Plan again."
_REFERENCES: Final = "The secret resolves references, and what is carried is literal. Change it on its page."


@dataclass(frozen=True, kw_only=True)
class CarriedVersion:
    """A version as another system has it; `value` is None if that gives none any more."""

    number: int
    value: str | None = field(repr=False)
    # Of a version without a value: deleted or destroyed there.
    state: str = ""
    # When it was deleted there, or will be.
    deleted_at: datetime | None = None
    written_at: datetime | None = None
    author: str = ""
    comment: str = CARRIED
    # In that system: its number, if it has numbers, or its identifier.
    number_there: int | None = None
    identifier: str = ""


@dataclass(frozen=True, kw_only=True)
class History:
    """A secret that is new, or further versions of `secret`, whose state is `expected` (its ETag)."""

    name: str
    place: str
    path: str
    secret_type: SecretType
    versions: Sequence[CarriedVersion]
    current: int
    previous: int | None = None
    metadata: Metadata = field(default_factory=Metadata)
    secret: Secret | None = None
    expected: str = ""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Who carries, from which kind of system, by which migration, and what the event holds besides."""

    actor: Principal
    system: str
    migration: UUID
    details: Mapping[str, Json] = field(default_factory=dict)


class _Sealed(NamedTuple):
    """A version of a history, sealed: its columns, and its digest in a manifest."""

    history: History
    version: CarriedVersion
    columns: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class _Further:
    """New versions of a stored secret, and what its write guards answered."""

    secret: Secret
    versions: Sequence[_Sealed]
    revision: int
    confirm: Confirm


def require_may_carry(actor: Principal, environment: Environment, name: str) -> None:
    """Raise Forbidden or Invisible unless the actor may import and create a name."""
    for right in _RIGHTS:
        require(actor=actor, action=right, environment=environment, name=name)


def checked_history(history: History) -> None:
    """Raise InvalidInput naming the field if a secret cannot be stored as it is there."""
    validate_secret_name(history.name)
    checked_metadata(history.metadata)
    for version in history.versions:
        if version.value is None:
            continue
        if version.number == history.current:
            inspect(history.secret_type, version.value)
        check_bounds(version.value)


def carry(
    *,
    carrier: Carrier,
    environment: Environment,
    histories: Sequence[History],
    grant: ApprovalGrant,
    in_transaction: Callable[[], None] | None = None,
) -> None:
    """Store histories of one environment, all or none. May call KMS; call it outside a transaction.

    `in_transaction` stores what has to be stored along with them; what it raises stores none.

    Raises NameTaken if a name lives by now, StaleVersion if a secret was changed since it was read,
    ManagedValue, InvalidInput, ApprovalVoid, TamperedSecret, and Forbidden or Invisible.
    """
    actor = carrier.actor
    for history in histories:
        require_may_carry(actor, environment, history.name)
        checked_history(history)
    now = timezone.now()
    rows = NewRows(actor=actor, environment=environment, data_key=active_key(environment), at=now)
    new = [history for history in histories if history.secret is None]
    uuids = ordered_uuids(len(new))
    names = [history.name for history in new]
    guarded = guarded_names(environment, names)
    made = [
        _new_row(rows, history, uuid, guarded=history.name in guarded)
        for history, uuid in zip(new, uuids, strict=True)
    ]
    further = [
        _further(rows, history, history.secret, carrier, now) for history in histories if history.secret
    ]
    # Sealing many takes a while; who lost the right in the meantime stores none.
    present = refresh_principal(actor)
    for history in histories:
        require_may_carry(present, environment, history.name)
    try:
        with transaction.atomic():
            approved = grant.consume(environment, actor=actor)
            insert_rows(made)
            _store_further(further)
            _store_origins(carrier, new, made, further)
            former = first_numbers(environment, names)
            numbered = all(former.get(row.described.name, 1) <= row.number for row in made)
            if not numbered or guarded_names(environment, names) != guarded:
                raise StaleVersion(_MEANWHILE)
            for each in further:
                each.confirm()
            event = _event(carrier, environment, made, further, approved)
            locked = event_store.lock_head(event.stream, [guards_as_before(environment)])
            record_many([event], locked=locked)
            notify_listeners(environment.pk, [history.name for history in histories])
            if in_transaction is not None:
                in_transaction()
    except IntegrityError as error:
        if Secret.objects.filter(environment=environment, live=True, name__in=names).exists():
            raise NameTaken("A name was taken meanwhile. Nothing was written. Plan again.") from error
        raise StaleVersion(_MEANWHILE) from error


def _new_row(rows: NewRows, history: History, uuid: str, *, guarded: bool) -> NewRow:
    by_number = {version.number: version for version in history.versions}
    current = by_number[history.current]
    facts = inspect(history.secret_type, current.value)
    about = checked_metadata(history.metadata)
    custom = about.pop("custom_metadata", None)
    about["expires_at"] = effective_expiry(about.get("expires_at"), after=facts)
    rules = replace(_rules(VersionRules(), history), max_versions=about.pop("max_versions", 0))
    limit = rows.environment.delete_version_after
    rules = rules.following(history.current, at=timezone.now(), limit=limit)
    rules = _scheduled(rules, history, limit)
    standing = Standing(history.current, history.previous, rules, current.written_at, custom, guarded)
    described = Described(history.name, history.secret_type, facts, **about)
    return rows.carried(described, uuid, _versions(history), standing)


def _versions(history: History) -> list[NewVersion]:
    ordered = _ordered(history)
    return [
        NewVersion(uuid, version.number, version.value, version.comment[:MAX_COMMENT], version.written_at)
        for version, uuid in zip(ordered, ordered_uuids(len(ordered)), strict=True)
    ]


def _ordered(history: History) -> list[CarriedVersion]:
    return sorted(history.versions, key=attrgetter("number"))


def _rules(rules: VersionRules, history: History) -> VersionRules:
    """Return the rules with the versions that hold no value; one deleted there keeps its time."""
    gone = [version for version in history.versions if version.value is None]
    deleted = {
        version.number: version.deleted_at
        for version in gone
        if version.state == DELETED and version.deleted_at
    }
    rules = replace(rules, deleted={**rules.deleted, **deleted})
    return rules.destroying([version.number for version in gone]) if gone else rules


def _scheduled(rules: VersionRules, history: History, limit: int) -> VersionRules:
    """Return the rules with the time at which a version is deleted there; here it may be an earlier one.

    Where no version ends here, these do not.
    """
    if limit == NEVER:
        return rules
    ends = {
        version.number: min(version.deleted_at, rules.deleted.get(version.number, version.deleted_at))
        for version in history.versions
        if version.value is not None and version.deleted_at
    }
    return replace(rules, deleted={**rules.deleted, **ends})


def _further(rows: NewRows, history: History, secret: Secret, carrier: Carrier, now: datetime) -> _Further:
    """Return the new versions of a stored secret, sealed, and the secret as it will be."""
    require_authentic(secret)
    check_etag(secret, history.expected)
    if secret.uses_references:
        raise InvalidInput("value", _REFERENCES)
    current = next(version for version in history.versions if version.number == history.current)
    confirm = run_write_guards(actor=carrier.actor, secret=secret, value=current.value)
    facts = inspect(history.secret_type, current.value)
    new = [rows.version(version, secret.uuid.hex) for version in _versions(history)]
    sealed = [_Sealed(history, version, *row) for version, row in zip(_ordered(history), new, strict=True)]
    revision = secret.revision
    secret.previous_number = None if secret.rules.state(secret.current_number) else secret.current_number
    if history.previous is not None:
        secret.previous_number = history.previous
    if secret.secret_type != history.secret_type:
        first = min(version.number for version in history.versions)
        secret.rules = secret.rules.retyped(secret.secret_type, first=first)
    secret.current_number, secret.secret_type = history.current, history.secret_type
    secret.rotated_at = current.written_at or now
    limit = NEVER if confirm.again else secret.environment.delete_version_after
    rules = _rules(secret.rules, history).following(history.current, at=now, limit=limit)
    secret.rules = _scheduled(rules, history, limit)
    secret.note_end()
    if secret.rotation_due_at is not None and secret.rotation_due_at <= secret.rotated_at:
        secret.rotation_due_at = None
    apply_facts(secret, facts)
    secret.revision, secret.updated_at = revision + 1, now
    return _Further(secret, sealed, revision, confirm)


def _store_further(further: Sequence[_Further]) -> None:
    for each in further:
        changed = each.secret.changed_fields() | {"row_mac"}
        writes = [prepared.change(each.secret, changed, unless_changed="revision", was=each.revision)]
        if write_all(writes)[0].changed != 1:
            raise StaleVersion(_MEANWHILE)
    insert_versions((each.secret.pk, version.columns) for each in further for version in each.versions)


def _store_origins(
    carrier: Carrier, new: Sequence[History], made: Sequence[NewRow], further: Sequence[_Further]
) -> None:
    """Store where each version comes from, in the transaction that has stored the versions."""
    sealed = [
        _Sealed(history, version, columns, "")
        for history, row in zip(new, made, strict=True)
        for version, columns in zip(_ordered(history), row.versions, strict=True)
    ]
    sealed += [version for each in further for version in each.versions]
    stored: dict[UUID, int] = {}
    for some in in_batches([UUID(each.columns["uuid"]) for each in sealed]):
        stored |= dict(SecretVersion.objects.filter(uuid__in=some).values_list("uuid", "pk"))
    origins = []
    for each in sealed:
        uuid = UUID(each.columns["uuid"])
        version = SecretVersion(pk=stored[uuid], uuid=uuid)
        origin = VersionOrigin(
            version=version,
            migration=carrier.migration,
            system=carrier.system,
            place=each.history.place,
            path=each.history.path,
            number=each.version.number_there,
            identifier=each.version.identifier,
            author=each.version.author[:MAX_AUTHOR],
            written_at=each.version.written_at,
            state=each.version.state,
        )
        origin.seal_row()
        origins.append(origin)
    bulk.insert_rows(origins)


def _event(
    carrier: Carrier,
    environment: Environment,
    made: Sequence[NewRow],
    further: Sequence[_Further],
    approved: Mapping[str, Json],
) -> EventDraft:
    entries = [entry for row in made for entry in row.entries]
    for each in further:
        digest = state_digest(each.secret)
        uuid, name = uuid_text(each.secret.uuid.hex), each.secret.name
        entries += [(uuid, sealed.version.number, name, digest, sealed.digest) for sealed in each.versions]
    return EventDraft(
        actor=carrier.actor,
        action=Action.SECRET_MIGRATE,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details={
            **carrier.details,
            **approved,
            "migration": str(carrier.migration),
            "system": carrier.system,
            "bulk": True,
            "count": len(made) + len(further),
            "versions": len(entries),
        },
        manifest=entries,
    )
