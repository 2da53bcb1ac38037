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
import marshal
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from django.db import OperationalError, connection

from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import Receipt
from core.canonical_json import canonical_json
from core.db.identity import uuid_text
from core.db.sqlite3.base import strict_text
from core.errors import BadDetails
from environments_app.models import Environment
from secrets_app import envelope
from secrets_app.envelope import DATA_KEY_ID, MIN_ENVELOPE_BYTES, PlainKey, VersionAad, check
from secrets_app.errors import EnvelopeError, KeyRefused
from secrets_app.keys.data_keys import plain_key
from secrets_app.keys.encrypted_field import Sealed, require_proof, require_proofs
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import version_context

# What a row's MAC covers besides its place and that it lives, as `_identity` takes it from a row.
_COVERED: Final = (
    "name",
    "secret_type",
    "current_number",
    "previous_number",
    "pending_number",
    "resolves_as",
)
_ROWS_PER_FETCH: Final = 1_000
MISSING: Final = b""
_NONE: Final = frozenset({None, ""})
# As the database gives it, in the order of `_select`; from this column on it proves itself.
RawRow: TypeAlias = Sequence[Any]
_PROVEN: Final = 4
_SECRET, _NAME, _NUMBER = 4, 6, 8
# The form without references between equal objects: equal rows give equal bytes, other rows other bytes.
_MARSHAL_FORM: Final = 2
_UUID_BYTES: Final = 16


class CurrentRow(NamedTuple):
    """A living secret with its current version, still sealed, and whether the secret's row is Keeper's.

    The version's uuid as bytes, the secret's as text. `version` is LOST where the current version was
    removed, or re-pointed, outside Keeper.
    """

    version: bytes
    secret: str
    name: str
    number: int
    envelope: bytes
    is_authentic: bool


class StoredRows(NamedTuple):
    """Rows as they are stored, and the SHA-256 of all their columns, each with its type and its length.

    What `judge` finds depends on these columns alone: rows of an equal digest are equal rows.
    """

    rows: Sequence[RawRow]
    digest: bytes

    def names(self) -> Iterator[str]:
        return (row[_NAME] for row in self.rows)

    def reads(self) -> list[tuple[str, int, str]]:
        """Return the entries of a manifest: of each secret the uuid as text, the current number, the name."""
        return [(uuid_text(row[_SECRET]), row[_NUMBER], row[_NAME]) for row in self.rows]


class PlainRow(NamedTuple):
    """A row that proved itself, with what a sync asks for besides; the envelope is empty unless asked for."""

    pk: int
    current: CurrentRow
    fingerprint: bytes
    resolves_as: str
    secret_type: str


def current_version_rows(environment: Environment, prefix: str) -> Iterator[CurrentRow]:
    """Return the living secrets of an environment in the order of names, from `prefix` on."""
    batches = _fetched(_select(connection.vendor), environment, *_below(prefix))
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
    digest, size = hashlib.sha256(), 0
    for batch in _fetched(_select(connection.vendor), environment, "", ()):
        form = marshal.dumps(list(batch), _MARSHAL_FORM)
        digest.update(form)
        size += len(form)
        found += batch
        if len(found) > limit or size > limit_bytes:
            return None
    return StoredRows(found, digest.digest())


def plain_rows_under(environment: Environment, prefix: str) -> Iterator[PlainRow | int]:
    """Yield the living secrets of an environment from `prefix` on, without values.

    For a secret whose row has no valid MAC, or no current version, only the primary key is yielded; its
    model decides.
    """
    head = _select(connection.vendor, besides="v.fingerprint, ", value="X''")
    yield from _plain(_fetched(head, environment, *_below(prefix)), environment)


def plain_rows_of(environment: Environment, names: Sequence[str]) -> Iterator[PlainRow | int]:
    """Yield the living secrets of these names with their sealed values, else as `plain_rows_under` does."""
    if names:
        condition = f"AND s.name IN ({', '.join(['%s'] * len(names))})"
        head = _select(connection.vendor, besides="v.fingerprint, ")
        yield from _plain(_fetched(head, environment, condition, names), environment)


def judge(rows: Sequence[RawRow], environment: Environment) -> Sequence[CurrentRow]:
    """Return verified rows, and the others as their models judge them."""
    proven = _verify(rows, environment)
    if None not in proven:
        return cast("Sequence[CurrentRow]", proven)
    judged = (found or _by_models(row[0], environment) for row, found in zip(rows, proven, strict=True))
    return [found for found in judged if found]


def _plain(batches: Iterable[Sequence[RawRow]], environment: Environment) -> Iterator[PlainRow | int]:
    for batch in batches:
        rows = [row[1:] for row in batch]
        for (fingerprint, pk, *_, kind, _, _, _, resolves_as), proven in zip(
            batch, _verify(rows, environment), strict=True
        ):
            if proven is None or type(fingerprint) is not bytes:
                yield pk
            else:
                yield PlainRow(pk, proven, fingerprint, resolves_as or "", kind)


def _verify(rows: Sequence[RawRow], environment: Environment) -> Sequence[CurrentRow | None]:
    """Return each row if its MAC is valid, else None."""
    found: list[CurrentRow | None] = []
    # As text: to compare two uuids takes longer than all else.
    proof = (str(deployment_uuid()), str(environment.uuid))
    for row in rows:
        _, live, version, envelope = row[:_PROVEN]
        if live != 1 or type(version) is not str or type(envelope) is not bytes:
            # SQLite keeps what it is given.
            found.append(None)
            continue
        try:
            version_bytes = bytes.fromhex(version.replace("-", ""))
            secret, name, number = _identity(*proof, row[_PROVEN:])
        except (ValueError, _RowNotVerified):
            found.append(None)
            continue
        genuine = len(version_bytes) == _UUID_BYTES
        found.append(CurrentRow(version_bytes, secret, name, number, envelope, True) if genuine else None)
    return found


class _RowNotVerified(Exception):
    """A row was not written by Keeper, or holds what Keeper never stores."""


def _identity(deployment: str, environment: str, columns: RawRow) -> tuple[str, str, int]:
    """Return a secret's uuid, name and current number as its row proves them. Raises _RowNotVerified."""
    secret, mac, name, kind, current, previous, pending, resolves_as = columns
    if not (type(mac) is bytes and type(secret) is str):
        raise _RowNotVerified
    covered = {
        "current_number": current,
        "environment.uuid": environment,
        "live": True,
        "name": name,
        "pending_number": pending,
        "previous_number": previous,
        "secret_type": kind,
    }
    if resolves_as not in _NONE:
        covered["resolves_as"] = resolves_as
    text = uuid_text(secret)
    try:
        # What `mac_message` returns.
        message = canonical_json([Secret.MAC_LABEL, deployment, text, covered])
    except BadDetails as error:
        raise _RowNotVerified from error
    if not keyring().verify(Purpose.ROW_MAC, message, mac):
        raise _RowNotVerified
    return text, name, current


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
    return CurrentRow(uuid, str(secret.uuid), secret.name, secret.current_number, envelope, is_authentic)


def _below(prefix: str) -> tuple[str, Sequence[str]]:
    # "0" follows "/" in the order of bytes.
    return ("AND s.name >= %s AND s.name < %s", [prefix, f"{prefix}0"]) if prefix else ("", [])


def _fetched(
    head: str, environment: Environment, condition: str, parameters: Sequence[str]
) -> Iterator[Sequence[RawRow]]:
    with connection.cursor() as cursor:
        cursor.execute(f"{head} {condition} ORDER BY s.name", [environment.pk, *parameters])
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            yield rows


@cache
def _select(vendor: str, *, besides: str = "", value: str = "v.value") -> str:  # noqa: ARG001 - a key of the cache
    quote = connection.ops.quote_name
    columns = [f"s.{quote(column)}" for column in _COVERED]
    version, secret = quote(SecretVersion._meta.db_table), quote(Secret._meta.db_table)
    return (
        f"SELECT {besides}s.id, s.live, v.uuid, {value}, s.uuid, s.row_mac, {', '.join(columns)} "  # noqa: S608 - our own names
        f"FROM {secret} s LEFT JOIN {version} v ON v.secret_id = s.id AND v.number = s.current_number "
        "WHERE s.environment_id = %s AND s.live"
    )


class EnvironmentValues:
    """The values of an environment's versions, to be opened under a committed receipt, or sealed again.

    A data key is taken from the cache once, and kept as long as this is.
    """

    def __init__(self, environment: UUID, receipt: Receipt) -> None:
        self._environment = environment
        self._receipt = receipt
        self._bindings = VersionAad(deployment=deployment_uuid(), environment=environment)
        self._keys: dict[bytes, PlainKey] = {}

    def opened(self, stored: bytes, *, version: UUID, secret: UUID, number: int) -> bytes:
        """Return the value of a version; raises as `Sealed.open` does."""
        require_proof(self._receipt, version)
        return self._opened(stored, version.bytes, secret.bytes, number)

    def opened_all(self, rows: Sequence[CurrentRow]) -> list[bytes]:
        """Return the values of versions in their order; raises as `opened` does."""
        require_proofs(self._receipt, [row.version for row in rows])
        return [
            self._opened(stored, version, bytes.fromhex(secret.replace("-", "")), number)
            for version, secret, _, number, stored, _ in rows
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
