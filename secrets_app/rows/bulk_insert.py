"""Stores new secrets with their first versions, given as plain rows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections

from audit_app.crypto.hash_chain import CreatedItem
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import row_message
from audit_app.integrity.row_state import digest_of_mac
from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject, EventDraft
from core.canonical_json import Json, utc_text
from core.db.bulk import insert, insert_all, insert_returning
from core.db.identity import uuid_text
from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from secrets_app.envelope import PlainKey, VersionAad, seal_bound
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion, search_text, tags_mac
from secrets_app.models.tags import tags_text
from secrets_app.models.version_rules import VersionRules
from secrets_app.types.registry import Facts, SecretType
from secrets_app.values.versions import digest_message, listed_digest

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
    guarded: bool | None = None
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


class NewVersion(NamedTuple):
    """A version to store: its uuid in hexadecimal, its value, None for one that is not there any more."""

    uuid: str
    number: int
    value: str | None
    comment: str = ""
    # When it was written in the system that it was carried from.
    written_at: datetime | None = None

    def __repr__(self) -> str:
        return f"NewVersion({self.number})"


class Standing(NamedTuple):
    """Which versions a new secret has: the current one, the one before it, and which are gone."""

    current: int
    previous: int | None = None
    rules: VersionRules = VersionRules()
    rotated_at: datetime | None = None
    custom_metadata: Mapping[str, str] | None = None
    # Whether a deleted secret of its name was.
    guarded: bool = False


class NewRow(NamedTuple):
    """A new secret with its versions, encrypted: column values, and the entries in the manifest."""

    environment: Environment
    described: Described
    uuid: UUID
    secret: Mapping[str, Any]
    # All but the id of the secret.
    versions: Sequence[Mapping[str, Any]]
    entries: Sequence[CreatedItem]

    @property
    def number(self) -> int:
        """The number of the first version."""
        return self.entries[0][1]


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
        guarded: bool = False,
    ) -> NewRow:
        """Return the row of a secret, under uuids in hexadecimal, with `number` as its version's number.

        Call it before the transaction in which it is stored.
        """
        limit = self.environment.delete_version_after
        rules = VersionRules().following(number, at=self._at, limit=limit)
        standing = Standing(number, rules=rules, guarded=guarded)
        return self.carried(described, secret, [NewVersion(version, number, value, comment)], standing)

    def carried(
        self, described: Described, secret: str, versions: Sequence[NewVersion], standing: Standing
    ) -> NewRow:
        """Return the row of a secret with all its versions, in the order of their numbers.

        Call it before the transaction in which it is stored.
        """
        columns = self._secret(secret, described, standing)
        row_digest = digest_of_mac(columns["row_mac"])
        sealed, entries = [], []
        for version in versions:
            row, digest = self.version(version, secret)
            sealed.append(row)
            entries.append((uuid_text(secret), version.number, described.name, row_digest, digest))
        return NewRow(self.environment, described, UUID(int=int(secret, 16)), columns, sealed, entries)

    def version(self, version: NewVersion, secret: str) -> tuple[dict[str, Any], str]:
        """Return the columns of a version, all but the id of its secret, and its digest for a manifest."""
        plaintext = (version.value or "").encode()
        is_there = version.value is not None
        binding = self._bindings.of(bytes.fromhex(version.uuid), bytes.fromhex(secret), version.number)
        fingerprint = fingerprints.fingerprint(plaintext) if is_there else b""
        digest = digest_message(
            version=uuid_text(version.uuid),
            secret=uuid_text(secret),
            number=version.number,
            fingerprint=fingerprint,
            author=self._author[0],
            author_uuid=self._author_uuid,
            comment=version.comment,
            at=self._told_at,
        )
        written = version.written_at
        sealed = {
            "uuid": version.uuid,
            "number": version.number,
            "value": seal_bound(plaintext, data_key=self._data_key, binding=binding) if is_there else b"",
            "data_key_id": self._data_key_id if is_there else None,
            "fingerprint": fingerprint,
            "author": self._author[0],
            "author_uuid": self._author[1],
            "comment": version.comment,
            "created_at": self._stored_at,
            "written_at": self._ops.adapt_datetimefield_value(written) if written else None,
            "destroyed_at": None if is_there else self._stored_at,
        }
        return sealed, listed_digest(digest)

    def event(self, rows: Sequence[NewRow], told: Mapping[str, Json]) -> EventDraft:
        """Return the one event of the rows that were stored."""
        return EventDraft(
            actor=self._actor,
            action=Action.SECRET_CREATE,
            stream=self._stream,
            object=AuditObject("environment", self.environment.uuid, self.environment.name),
            details={**told, "bulk": True, "count": len(rows)},
            manifest=[entry for row in rows for entry in row.entries],
        )

    def created(self, row: NewRow, pk: int) -> CreatedSecret:
        """Return the secret of a row that was stored under this id."""
        name, secret_type, facts, description, tags, owner, expires_at = row.described
        return CreatedSecret(
            pk, row.uuid, name, secret_type, self.environment, self.environment.id, description, tags,
            owner, expires_at, facts, self._at, self._at, self._at, row.number,
            guarded=row.secret["guarded"],
        )  # fmt: skip

    def _secret(self, uuid: str, described: Described, standing: Standing) -> dict[str, Any]:
        name, secret_type, facts, description, tags, owner, expires_at = described
        rules, custom, rotated = standing.rules.stored(), standing.custom_metadata, standing.rotated_at
        ends = standing.rules.deleted.get(standing.current)
        ops, now, text = self._ops, self._stored_at, uuid_text(uuid)
        columns = {
            "uuid": uuid,
            "environment_id": self.environment.id,
            "name": name,
            "secret_type": str(secret_type),
            "description": description,
            "tags": tags_text(tags),
            "tags_mac": tags_mac(text, tags) if tags else b"",
            "owner": owner,
            "expires_at": ops.adapt_datetimefield_value(expires_at) if expires_at else None,
            "facts": ops.adapt_json_value(facts, None) if facts else "{}",
            "current_number": standing.current,
            "previous_number": standing.previous,
            "pending_number": None,
            "revision": _FIRST,
            "live": True,
            "deleted_at": None,
            "rotated_at": ops.adapt_datetimefield_value(rotated) if rotated else now,
            "rotation_due_at": None,
            "resolves_as": "",
            "guarded": standing.guarded or None,
            "decoy": None,
            "version_rules": ops.adapt_json_value(rules, None) if rules else None,
            "version_ends_at": ops.adapt_datetimefield_value(ends) if ends else None,
            "custom_metadata": ops.adapt_json_value(custom, None) if custom else None,
            "search_text": search_text(name, description, owner, tags),
            "created_at": now,
            "updated_at": now,
        }
        covered = {**columns, "environment.uuid": self._environment_uuid, "version_rules": rules}
        message = row_message(Secret, text, covered)
        columns["row_mac"] = keyring().mac(Purpose.ROW_MAC, message)
        return columns


def insert_rows(rows: Sequence[NewRow]) -> list[int]:
    """Insert new secrets and their versions; return the ids of the secrets. Call it in a transaction.

    Raises IntegrityError if a name lives already.
    """
    ids = _insert_secrets(rows)
    insert_versions((pk, version) for pk, row in zip(ids, rows, strict=True) for version in row.versions)
    return ids


def insert_versions(versions: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
    """Insert versions, each with the id of its secret. Call it in a transaction."""
    statement, fields = insert_all(SecretVersion, connection.vendor)
    rows = [{"secret_id": pk, **version} for pk, version in versions]
    insert(statement, [[row[str(field.column)] for field in fields] for row in rows])


def _insert_secrets(rows: Sequence[NewRow]) -> list[int]:
    """Insert new secrets; return the ids that the database gave to them, in their order."""
    statement, fields = insert_all(Secret, connection.vendor)
    given = [[row.secret[str(field.column)] for field in fields] for row in rows]
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
