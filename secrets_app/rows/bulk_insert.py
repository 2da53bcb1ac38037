"""Stores new secrets with their first versions, given as plain rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from audit_app.crypto.hash_chain import CreatedItem
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import mac_message
from audit_app.integrity.row_state import digest_of_mac
from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject, EventDraft
from core.canonical_json import Json, utc_text
from core.db.bulk import Insert, insert, insert_into, insert_returning
from core.db.identity import uuid_text
from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from secrets_app.envelope import PlainKey, VersionAad, seal_bound
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion, search_text, tags_mac
from secrets_app.models.tags import tags_text
from secrets_app.types.registry import Facts, SecretType
from secrets_app.values.versions import digest_message, listed_digest

SECRET_COLUMNS: Final = (
    "uuid", "environment_id", "name", "secret_type", "description", "tags", "tags_mac", "owner", "expires_at",
    "facts", "current_number", "previous_number", "pending_number", "revision", "live", "deleted_at",
    "rotated_at", "rotation_due_at", "resolves_as", "search_text", "created_at", "updated_at", "row_mac",
)  # fmt: skip
VERSION_COLUMNS: Final = (
    "secret_id", "uuid", "number", "value", "data_key_id", "fingerprint", "author", "author_uuid", "comment",
    "created_at",
)  # fmt: skip
_FIRST: Final = 1


class CreatedSecret(NamedTuple):
    """A newly created secret, with the attribute names of `Secret`."""

    pk: int
    uuid: UUID
    name: str
    secret_type: SecretType
    environment: Environment
    environment_id: int
    description: str
    tags: Sequence[str]
    owner: str
    expires_at: datetime | None
    facts: Facts
    rotated_at: datetime
    created_at: datetime
    updated_at: datetime
    current_number: int = _FIRST
    revision: int = _FIRST
    uses_references: bool = False
    rotation_due_at: None = None
    deleted_at: None = None


class Described(NamedTuple):
    """What is stored of a secret besides its value, checked."""

    name: str
    secret_type: SecretType
    facts: Facts
    description: str = ""
    tags: Sequence[str] = ()
    owner: str = ""
    expires_at: datetime | None = None


class NewRow(NamedTuple):
    """A new secret with its first version, encrypted: its column values and its entry in the manifest."""

    environment: Environment
    described: Described
    uuid: UUID
    secret: Sequence[Any]
    # All but the id of the secret.
    version: Sequence[Any]
    entry: CreatedItem

    @property
    def number(self) -> int:
        """The number of the first version."""
        return self.entry[1]


class NewRows:
    """Makes the rows of one environment, of one writer and one moment; what they share is built once."""

    def __init__(
        self, *, actor: Principal, environment: Environment, data_key: PlainKey, at: datetime
    ) -> None:
        self._actor = actor
        self.environment = environment
        self._stream = environment_stream(environment.uuid)
        self._data_key = data_key
        self._data_key_id = data_key.id.hex
        self._bindings = VersionAad(deployment=deployment_uuid(), environment=environment.uuid)
        self._at = at
        self._told_at = utc_text(at)
        self._author = (actor.name, actor.uuid.hex)
        self._author_uuid = str(actor.uuid)
        self._environment_uuid = str(environment.uuid)
        # The proxy looks the connection up at each use.
        self._ops = connections[DEFAULT_DB_ALIAS].ops
        self._stored_at = self._ops.adapt_datetimefield_value(at)

    def made(
        self,
        described: Described,
        *,
        value: str,
        comment: str,
        secret: str,
        version: str,
        number: int = _FIRST,
    ) -> NewRow:
        """Return the row of a secret, under uuids in hexadecimal, with `number` as its version's number.

        Call it before the transaction in which it is stored.
        """
        plaintext, secret_uuid, version_uuid = value.encode(), uuid_text(secret), uuid_text(version)
        row_mac = self._row_mac(secret_uuid, described, number)
        fingerprint = fingerprints.fingerprint(plaintext)
        binding = self._bindings.of(bytes.fromhex(version), bytes.fromhex(secret), number)
        envelope = seal_bound(plaintext, data_key=self._data_key, binding=binding)
        digest = digest_message(
            version=version_uuid,
            secret=secret_uuid,
            number=number,
            fingerprint=fingerprint,
            author=self._author[0],
            author_uuid=self._author_uuid,
            comment=comment,
            at=self._told_at,
        )
        return NewRow(
            self.environment,
            described,
            UUID(int=int(secret, 16)),
            self._secret(secret, described, row_mac, number),
            (
                version, number, envelope, self._data_key_id, fingerprint, *self._author, comment,
                self._stored_at,
            ),
            (secret_uuid, number, described.name, digest_of_mac(row_mac), listed_digest(digest)),
        )  # fmt: skip

    def event(self, rows: Sequence[NewRow], told: Mapping[str, Json]) -> EventDraft:
        """Return the one event of the rows that were stored."""
        return EventDraft(
            actor=self._actor,
            action=Action.SECRET_CREATE,
            stream=self._stream,
            object=AuditObject("environment", self.environment.uuid, self.environment.name),
            details={**told, "bulk": True, "count": len(rows)},
            manifest=[row.entry for row in rows],
        )

    def created(self, row: NewRow, pk: int) -> CreatedSecret:
        """Return the secret of a row that was stored under this id."""
        name, secret_type, facts, description, tags, owner, expires_at = row.described
        return CreatedSecret(
            pk, row.uuid, name, secret_type, self.environment, self.environment.id, description, tags,
            owner, expires_at, facts, self._at, self._at, self._at, row.number,
        )  # fmt: skip

    def _row_mac(self, uuid: str, described: Described, number: int) -> bytes:
        covered: dict[str, object] = {
            "environment.uuid": self._environment_uuid,
            "name": described.name,
            "secret_type": described.secret_type,
            "current_number": number,
            "previous_number": None,
            "pending_number": None,
            "live": True,
        }
        return keyring().mac(Purpose.ROW_MAC, mac_message(Secret.MAC_LABEL, uuid, covered))

    def _secret(self, uuid: str, described: Described, row_mac: bytes, number: int) -> Sequence[Any]:
        name, secret_type, facts, description, tags, owner, expires_at = described
        ops = self._ops
        return (
            uuid, self.environment.id, name, str(secret_type), description, tags_text(tags),
            tags_mac(uuid_text(uuid), tags) if tags else b"", owner,
            ops.adapt_datetimefield_value(expires_at) if expires_at else None,
            ops.adapt_json_value(facts, None) if facts else "{}",
            number, None, None, _FIRST, True, None, self._stored_at,
            None, "", search_text(name, description, owner, tags), self._stored_at, self._stored_at, row_mac,
        )  # fmt: skip


def insert_rows(rows: Sequence[NewRow]) -> list[int]:
    """Insert new secrets and their versions; return the ids of the secrets. Call it in a transaction.

    Raises IntegrityError if a name lives already.
    """
    ids = _insert_secrets(rows)
    versions = [(pk, *row.version) for pk, row in zip(ids, rows, strict=True)]
    insert(_statement(SecretVersion, VERSION_COLUMNS), versions)
    return ids


def _statement(model: type[models.Model], columns: Sequence[str]) -> Insert:
    table = model._meta.db_table
    return insert_into(table, tuple(columns), binary=_binary(model), vendor=connection.vendor)


@cache
def _binary(model: type[models.Model]) -> frozenset[str]:
    fields = model._meta.concrete_fields
    return frozenset(str(field.column) for field in fields if isinstance(field, models.BinaryField))


def _insert_secrets(rows: Sequence[NewRow]) -> list[int]:
    """Insert new secrets; return the ids that the database gave to them, in their order."""
    statement, given = _statement(Secret, SECRET_COLUMNS), [row.secret for row in rows]
    if connection.vendor != "sqlite":
        returned: dict[str, int] = dict(insert_returning(statement, "uuid, id", given))
        return [returned[str(row.uuid)] for row in rows]
    insert(statement, given)
    with connection.cursor() as cursor:
        # No concurrent writes happen during this transaction: these are the newest.
        table = connection.ops.quote_name(Secret._meta.db_table)
        cursor.execute(f"SELECT uuid, id FROM {table} ORDER BY id DESC LIMIT %s", [len(rows)])  # noqa: S608 - our own names
        found = dict(cursor.fetchall())
    return [found[row.uuid.hex] for row in rows]
