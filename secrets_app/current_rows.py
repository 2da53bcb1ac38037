"""Reads the current versions of an environment as plain rows: the hot path of an export and of a sync.

A thousand pairs of model instances cost several times what opening their values does. What is as
Keeper writes it is taken from the row as it comes, once its MAC proves it; any other row is read
again through its models, which judge it. A test holds the two together.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from django.db import connection

from audit_app.canonical import canonical_json
from audit_app.errors import BadDetails
from audit_app.keyring import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.record import ManifestEntry
from environments_app.models import Environment
from secrets_app.models import Secret, SecretVersion

# What holds of each row that is taken as it comes.
_FIXED: Final = ("environment.uuid", "live")
_COVERED: Final = tuple(path for path in Secret.MAC_COVERS if path not in _FIXED)
_COVERED_IF_SET: Final = Secret.MAC_COVERS_IF_SET
_ALWAYS: Final = len(_COVERED)
# Counted from the end of a row.
_RESOLVES_AS: Final = _COVERED_IF_SET.index("resolves_as") - len(_COVERED_IF_SET)
_NAME: Final = _COVERED.index("name")
_NUMBER: Final = _COVERED.index("current_number")
_ROWS_PER_FETCH: Final = 1_000
LOST: Final = b""
_UUID_BYTES: Final = 16
_HEX_DIGITS: Final = 32


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

    @property
    def secret_bytes(self) -> bytes:
        """The bytes of the secret's uuid."""
        return bytes.fromhex(self.secret.replace("-", ""))

    @property
    def manifest_entry(self) -> ManifestEntry:
        """How the manifest of a read lists this."""
        return ManifestEntry(self.secret, self.number, self.name)


class PlainRow(NamedTuple):
    """A row that proved itself, with what a sync asks for besides; the envelope is empty unless asked for."""

    pk: int
    current: CurrentRow
    fingerprint: bytes
    resolves_as: str


def current_rows(environment: Environment, prefix: str) -> Iterator[CurrentRow]:
    """Yield the living secrets of an environment in the order of names, from `prefix` on."""
    for rows in _fetched(_select(connection.vendor), environment, *_below(prefix)):
        yield from _judged(rows, environment)


def plain_rows(environment: Environment, prefix: str) -> Iterator[PlainRow | int]:
    """Yield the living secrets of an environment from `prefix` on, without values.

    Of a secret whose row does not prove itself as it stands, or that has no current version, the
    primary key is yielded, for its models to judge.
    """
    head = _select(connection.vendor, besides="v.fingerprint, ", value="X''")
    yield from _plain(_fetched(head, environment, *_below(prefix)), environment)


def plain_rows_of(environment: Environment, names: Sequence[str]) -> Iterator[PlainRow | int]:
    """Yield the living secrets of these names with their sealed values, else as `plain_rows` does."""
    if names:
        condition = f"AND s.name IN ({', '.join(['%s'] * len(names))})"
        head = _select(connection.vendor, besides="v.fingerprint, ")
        yield from _plain(_fetched(head, environment, condition, names), environment)


# A row as it stands, and the message and MAC that prove it.
_Claim: TypeAlias = tuple[CurrentRow, tuple[bytes, bytes]]


def _judged(rows: Sequence[Sequence[Any]], environment: Environment) -> Iterator[CurrentRow]:
    """Yield rows that prove themselves as they stand, and the others as their models judge them."""
    for row, proven in zip(rows, _proven(rows, environment), strict=True):
        if found := proven or _by_models(row[0], environment):
            yield found


def _plain(batches: Iterable[Sequence[Sequence[Any]]], environment: Environment) -> Iterator[PlainRow | int]:
    for batch in batches:
        rows = [row[1:] for row in batch]
        for (fingerprint, pk, *stored), proven in zip(batch, _proven(rows, environment), strict=True):
            if proven is None or type(fingerprint) is not bytes:
                yield pk
            else:
                yield PlainRow(pk, proven, fingerprint, stored[_RESOLVES_AS] or "")


def _proven(rows: Sequence[Sequence[Any]], environment: Environment) -> Iterator[CurrentRow | None]:
    """Yield each row if it proves itself as it stands, None for any other."""
    place = (Secret.MAC_LABEL, deployment_uuid())
    claims = [_claim(row, place, environment.uuid) for row in rows]
    are_genuine = keyring().verify_all(Purpose.ROW_MAC, [claim[1] for claim in claims if claim])
    for claim in claims:
        genuine = claim and (are_genuine or keyring().verify(Purpose.ROW_MAC, *claim[1]))
        yield claim[0] if claim and genuine else None


def _claim(row: Sequence[Any], place: tuple[str, UUID], environment: UUID) -> _Claim | None:
    """Return what a row says of itself, None if it holds what Keeper never stores."""
    _, live, version, envelope, secret, mac, *stored = row
    if live != 1 or not (type(envelope) is type(mac) is bytes and type(version) is type(secret) is str):
        # SQLite keeps what it is given.
        return None
    covered = dict(zip(_COVERED, stored, strict=False))
    covered["environment.uuid"], covered["live"] = environment, True
    later = zip(_COVERED_IF_SET, stored[_ALWAYS:], strict=True)
    covered |= {path: value for path, value in later if value not in {None, ""}}
    try:
        version_bytes = bytes.fromhex(version.replace("-", ""))
        # What `mac_message` returns; the uuids become text on the way.
        message = canonical_json([*place, text := _uuid_text(secret), covered])
    except (ValueError, BadDetails):
        return None
    if len(version_bytes) != _UUID_BYTES:
        return None
    found = CurrentRow(version_bytes, text, stored[_NAME], stored[_NUMBER], envelope, True)
    return found, (message, mac)


def _uuid_text(stored: str) -> str:
    """Return the usual text of a uuid, which SQLite stores without its hyphens."""
    if len(stored) != _HEX_DIGITS:
        return stored
    return f"{stored[:8]}-{stored[8:12]}-{stored[12:16]}-{stored[16:20]}-{stored[20:]}"


def _by_models(pk: int, environment: Environment) -> CurrentRow | None:
    """Return the row as its models read and judge it, None if it is gone by now."""
    secret = Secret.objects.filter(pk=pk, live=True).first()
    if secret is None:
        return None
    secret.environment = environment
    # Which version an edited row points to says nothing.
    is_authentic = secret.is_authentic()
    version = _current_version(secret) if is_authentic else None
    uuid, envelope = (version.uuid.bytes, version.value.envelope) if version else (LOST, b"")
    return CurrentRow(uuid, str(secret.uuid), secret.name, secret.current_number, envelope, is_authentic)


def _current_version(secret: Secret) -> SecretVersion | None:
    return SecretVersion.objects.filter(secret=secret, number=secret.current_number).first()


def _below(prefix: str) -> tuple[str, Sequence[str]]:
    # "0" follows "/" in the order of bytes.
    return ("AND s.name >= %s AND s.name < %s", [prefix, f"{prefix}0"]) if prefix else ("", [])


def _fetched(
    head: str, environment: Environment, condition: str, parameters: Sequence[str]
) -> Iterator[Sequence[Sequence[Any]]]:
    with connection.cursor() as cursor:
        cursor.execute(f"{head} {condition} ORDER BY s.name", [environment.pk, *parameters])
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            yield rows


@cache
def _select(vendor: str, *, besides: str = "", value: str = "v.value") -> str:  # noqa: ARG001 - a key of the cache
    quote = connection.ops.quote_name
    columns = [f"s.{quote(path)}" for path in (*_COVERED, *_COVERED_IF_SET)]
    version, secret = quote(SecretVersion._meta.db_table), quote(Secret._meta.db_table)
    return (
        f"SELECT {besides}s.id, s.live, v.uuid, {value}, s.uuid, s.row_mac, {', '.join(columns)} "  # noqa: S608 - our own names
        f"FROM {secret} s LEFT JOIN {version} v ON v.secret_id = s.id AND v.number = s.current_number "
        "WHERE s.environment_id = %s AND s.live"
    )
