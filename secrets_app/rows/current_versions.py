"""Current versions of an environment as plain rows, and many values opened under one receipt.

This is the hot path of an export and of a sync: a thousand pairs of model instances cost several times what
opening their values does. A row that is as Keeper writes it is taken as it comes, once its MAC proves it;
any other row is read again through its models, which judge it. A test holds the two together. The rows are
read and proved each time; none of them stays in memory.

What many values of one environment share is built and looked up once. The result is what `Sealed.open`
gives. Whatever it cannot open is left to that, which decides again, reports and raises; a test holds the
two together.
"""

import hashlib
import json
import marshal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from django.db import OperationalError, connection

from audit_app.integrity.proven_table import PlainTable, ProvenTable
from audit_app.interfaces import keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import Receipt
from core.db.identity import uuid_text
from core.db.sqlite3.base import strict_text
from environments_app.models import Environment
from secrets_app import envelope
from secrets_app.envelope import DATA_KEY_ID, MIN_ENVELOPE_BYTES, PlainKey, VersionAad, check
from secrets_app.errors import EnvelopeError, KeyRefused
from secrets_app.keys.data_keys import plain_key
from secrets_app.keys.encrypted_field import Sealed, require_proof, require_proofs, require_release
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import version_context
from secrets_app.models.version_rules import VersionRules

_ROWS_PER_FETCH: Final = 1_000
MISSING: Final = b""
_SECRETS: Final = ProvenTable(Secret, ("pk",))
_VERSIONS: Final = PlainTable(SecretVersion, ("uuid", "value"))
_COMPARED: Final = PlainTable(SecretVersion, ("uuid", "fingerprint"))
_COMPARED_AND_OPENED: Final = PlainTable(SecretVersion, ("uuid", "fingerprint", "value"))
# As the database gives it: the columns of a secret, and then those of its current version.
RawRow: TypeAlias = tuple[Any, ...]
_WIDTH: Final = len(_SECRETS.columns)
_PK, _UUID, _NAME, _NUMBER, _RULES = map(
    _SECRETS.columns.index, ("pk", "uuid", "name", "current_number", "version_rules")
)
# The form without references between equal objects: equal rows give equal bytes, other rows other bytes.
_MARSHAL_FORM: Final = 2


class CurrentRow(NamedTuple):
    """A living secret with its current version, still sealed, and whether the secret's row is Keeper's.

    The version's uuid as bytes, the secret's as text. `version` is MISSING where the current version was
    removed, or re-pointed, outside Keeper.
    """

    version: bytes
    secret: str
    name: str
    number: int
    envelope: bytes
    is_authentic: bool
    guarded: bool


class StoredRows(NamedTuple):
    """Rows as they are stored, the SHA-256 of each one's columns with type and length, and that of all these.

    What `judge` finds depends on these columns alone: rows of an equal digest are equal rows.
    """

    rows: Sequence[RawRow]
    row_digests: list[bytes]
    digest: bytes

    def names(self) -> Iterator[str]:
        return (row[_NAME] for row in self.rows)

    def envelopes(self) -> Iterator[bytes]:
        """Return the sealed values, as they are stored; what is missing is left out."""
        return (row[-1] for row in self.rows if isinstance(row[-1], bytes))

    def reads(self) -> list[tuple[str, int, str]]:
        """Return the entries of a manifest: of each secret the uuid as text, the current number, the name."""
        return [(uuid_text(row[_UUID]), row[_NUMBER], row[_NAME]) for row in self.rows]


class PlainRow(NamedTuple):
    """A row that proved itself, with what a sync asks for besides; the envelope is empty unless asked for."""

    pk: int
    current: CurrentRow
    fingerprint: bytes
    resolves_as: str
    secret_type: str


def current_version_rows(environment: Environment, prefix: str) -> Iterator[CurrentRow]:
    """Return the living secrets of an environment in the order of names, from `prefix` on."""
    batches = _fetched(_VERSIONS, environment, *_below(prefix))
    return chain.from_iterable(judge(rows, environment) for rows in batches)


def stored_rows(environment: Environment, *, limit: int, limit_bytes: int) -> StoredRows | None:
    """Return the living secrets of an environment in the order of names, not proved; None if there are more.

    `limit_bytes` is what the rows of one read may take.
    """
    try:
        with strict_text(connection):
            return _stored_rows(environment, limit, limit_bytes)
    except OperationalError:
        # Text that is not UTF-8, which proves nothing; any other reason is met again.
        return _stored_rows(environment, limit, limit_bytes)


def _stored_rows(environment: Environment, limit: int, limit_bytes: int) -> StoredRows | None:
    found: list[RawRow] = []
    digests: list[bytes] = []
    size = 0
    for batch in _fetched(_VERSIONS, environment, "", ()):
        forms = [marshal.dumps(row, _MARSHAL_FORM) for row in batch]
        digests += [hashlib.sha256(form).digest() for form in forms]
        size += sum(map(len, forms))
        found += batch
        if len(found) > limit or size > limit_bytes:
            return None
    return StoredRows(found, digests, hashlib.sha256(b"".join(digests)).digest())


def plain_rows_under(environment: Environment, prefix: str) -> Iterator[PlainRow | int]:
    """Yield the living secrets of an environment from `prefix` on, without values.

    For a secret whose row has no valid MAC, or no current version, only the primary key is yielded; its
    model decides.
    """
    yield from _plain(_COMPARED, environment, *_below(prefix))


def plain_rows_of(environment: Environment, names: Sequence[str]) -> Iterator[PlainRow | int]:
    """Yield the living secrets of these names with their sealed values, else as `plain_rows_under` does."""
    if names:
        condition = f"AND s.name IN ({', '.join(['%s'] * len(names))})"
        yield from _plain(_COMPARED_AND_OPENED, environment, condition, names)


def judge(rows: Sequence[RawRow], environment: Environment) -> Sequence[CurrentRow]:
    """Return verified rows, and the others as their models judge them."""
    keyring().open_all()
    place = {"environment.uuid": str(environment.uuid)}
    found: list[CurrentRow | None] = []
    for row in rows:
        secret, version = _SECRETS.prove(row[:_WIDTH], place), _VERSIONS.read(row[_WIDTH:])
        proven = _current(secret, version) if secret and version else None
        found.append(proven or _by_models(row[_PK], environment))
    return [row for row in found if row]


def _plain(
    versions: PlainTable, environment: Environment, condition: str, parameters: Sequence[str]
) -> Iterator[PlainRow | int]:
    keyring().open_all()
    place = {"environment.uuid": str(environment.uuid)}
    for row in chain.from_iterable(_fetched(versions, environment, condition, parameters)):
        secret, version = _SECRETS.prove(row[:_WIDTH], place), versions.read(row[_WIDTH:])
        if not secret or not version:
            yield row[_PK]
        else:
            yield PlainRow(
                pk=secret["pk"],
                current=_current(secret, version),
                fingerprint=version["fingerprint"],
                resolves_as=secret["resolves_as"],
                secret_type=secret["secret_type"],
            )


def _current(secret: Mapping[str, Any], version: Mapping[str, Any]) -> CurrentRow:
    return CurrentRow(
        bytes.fromhex(version["uuid"].replace("-", "")),
        secret["uuid"],
        secret["name"],
        secret["current_number"],
        version.get("value", b""),
        True,
        bool(secret["guarded"] or secret["decoy"]),
    )


def _by_models(pk: int, environment: Environment) -> CurrentRow | None:
    """Return the row as its models read and judge it, None if it is gone by now."""
    secret = Secret.objects.filter(pk=pk, live=True).first()
    if secret is None:
        return None
    secret.environment = environment
    # The version reference of an edited row is not trusted.
    is_authentic = secret.is_authentic()
    current = SecretVersion.objects.filter(secret=secret, number=secret.current_number)
    version = current.first() if is_authentic else None
    uuid, envelope = (version.uuid.bytes, version.value.envelope) if version else (MISSING, b"")
    return CurrentRow(
        uuid,
        str(secret.uuid),
        secret.name,
        secret.current_number,
        envelope,
        is_authentic,
        secret.left_out,
    )


def _below(prefix: str) -> tuple[str, Sequence[str]]:
    # "0" follows "/" in the order of bytes.
    return ("AND s.name >= %s AND s.name < %s", [prefix, f"{prefix}0"]) if prefix else ("", [])


def _fetched(
    versions: PlainTable, environment: Environment, condition: str, parameters: Sequence[str]
) -> Iterator[Sequence[RawRow]]:
    statement = (
        f"SELECT {_SECRETS.select('s')}, {versions.select('v')} FROM {_SECRETS.table} s "  # noqa: S608 - our own names
        f"LEFT JOIN {versions.table} v ON v.secret_id = s.id AND v.number = s.current_number "
        # A decoy is part of no answer about many.
        f"WHERE s.environment_id = %s AND s.live AND s.decoy IS NULL {condition} ORDER BY s.name"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [environment.pk, *parameters])
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            yield [row for row in rows if row[_RULES] is None or not _has_ended(row)]


def _has_ended(row: RawRow) -> bool:
    """Return whether a current version's time is over, and no worker has deleted it yet."""
    try:
        rules = json.loads(row[_RULES])
    except (TypeError, ValueError):
        # Nothing that Keeper wrote: its MAC judges it.
        return False
    return bool(VersionRules.of(rules).state(row[_NUMBER]))


class EnvironmentValues:
    """The values of an environment's versions, to be opened under a committed receipt, or sealed again.

    A data key is taken from the cache once, and kept as long as this is.
    """

    def __init__(self, environment: UUID, receipt: Receipt) -> None:
        self._environment = environment
        self._receipt = receipt
        self._bindings = VersionAad(deployment=deployment_uuid(), environment=environment)
        self._keys: dict[bytes, PlainKey] = {}

    def opened(self, stored: bytes, *, version: UUID, secret: UUID, number: int, guarded: bool) -> bytes:
        """Return the value of a version; raises as `Sealed.open` does."""
        require_proof(self._receipt, version)
        require_release(self._receipt, guarded=guarded)
        return self._opened(stored, version.bytes, secret.bytes, number)

    def opened_all(self, rows: Sequence[CurrentRow]) -> list[bytes]:
        """Return the values of versions in their order; raises as `opened` does."""
        require_proofs(self._receipt, [row.version for row in rows])
        require_release(self._receipt, guarded=any(row.guarded for row in rows))
        return [
            self._opened(stored, version, bytes.fromhex(secret.replace("-", "")), number)
            for version, secret, _, number, stored, *_ in rows
        ]

    def _opened(self, stored: bytes, version: bytes, secret: bytes, number: int) -> bytes:
        try:
            check(stored)
            key = self._keys.get(stored[DATA_KEY_ID]) or self._taken(stored[DATA_KEY_ID])
            binding = self._bindings.of(version, secret, number)
            return envelope.open_bound(stored, data_key=key, binding=binding)
        except (EnvelopeError, KeyRefused):
            context = version_context(
                version=UUID(bytes=version),
                secret=UUID(bytes=secret),
                number=number,
                environment=self._environment,
                # Both callers have asked.
                guarded=False,
            )
            return Sealed(stored, context).open(self._receipt)

    def sealed(
        self, plaintext: bytes, *, data_key: PlainKey, version: UUID, secret: UUID, number: int
    ) -> bytes:
        """Return the envelope of a version's value under a data key."""
        binding = self._bindings.of(version.bytes, secret.bytes, number)
        return envelope.seal_bound(plaintext, data_key=data_key, binding=binding)

    def _taken(self, data_key_id: bytes) -> PlainKey:
        key = plain_key(UUID(bytes=data_key_id), environment=self._environment)
        self._keys[data_key_id] = key
        return key


def named_data_keys(envelopes: Iterable[bytes]) -> set[UUID]:
    """Return the ids of the data keys that envelopes name; what is no envelope names none."""
    ids = {stored[DATA_KEY_ID] for stored in envelopes if len(stored) >= MIN_ENVELOPE_BYTES}
    return {UUID(bytes=data_key_id) for data_key_id in ids}
