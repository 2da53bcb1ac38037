"""The envelope: byte format, context and sealing; imports nothing of Keeper but its errors.

Bytes are sealed and opened by AES-256-GCM under a key of their own, committed. The layout is checked before
any key is used:

    header   = "KPR" | version 1 | suite 1 | data_key_id 16 | salt 32 | commitment 32 | nonce 12
    envelope = header | ciphertext | tag 16

The header has 97 bytes and an envelope at least 114: an empty plaintext is never sealed. The layout follows
suite 0x0478 of the AWS Encryption SDK message format.

An envelope is bound to the place of one value, which is authenticated with it:

    AAD = header | u16-length-prefixed: deployment uuid, label, row uuid, environment uuid, parent...

Each envelope has a key derived from the data key and a fresh salt, so that a data key may seal any number
of values without a nonce ever being reused under one key:

    OKM = HKDF-Expand-SHA512(data key, "keeper/v1" | suite | data_key_id | salt, 64 bytes)
    key = OKM[:32]      commitment = OKM[32:]

One HMAC is the whole expand step, since the data key is uniform (RFC 5869, 3.3).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hmac import compare_digest
from typing import Final, NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.hmac import HMAC

from secrets_app.errors import InvalidPlaintext, Malformed, UnknownFormat, WrongContext

MAGIC: Final = b"KPR"
VERSION: Final = 1
SUITE: Final = 1  # HKDF-Expand-SHA512, key commitment, AES-256-GCM
PREFIX: Final = MAGIC + bytes((VERSION, SUITE))

DATA_KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
HEADER_BYTES: Final = 97
MAX_PLAINTEXT_BYTES: Final = 65_536
# All names and values of an environment; below what the database takes in one statement (16 MiB, MariaDB).
MAX_SNAPSHOT_BYTES: Final = 4 * 1024 * 1024
MIN_ENVELOPE_BYTES: Final = HEADER_BYTES + 1 + TAG_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + TAG_BYTES
MAX_ENVELOPE_BYTES: Final = OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES


# The offset of each field; the derived key depends on the two fields from the data key's id on.
DATA_KEY_ID: Final = slice(5, 21)
ID_AND_SALT: Final = slice(5, 53)
COMMITMENT: Final = slice(53, 85)
NONCE: Final = slice(85, HEADER_BYTES)


def check(envelope: bytes, *, limit: int = MAX_PLAINTEXT_BYTES) -> None:
    """Let pass what has the form of an envelope of at most `limit` bytes of plaintext.

    Raises Malformed if the bytes are none by their length or first bytes, and UnknownFormat if their
    version or suite is not ours.
    """
    fits = MIN_ENVELOPE_BYTES <= len(envelope) <= OVERHEAD_BYTES + limit
    if fits and envelope.startswith(PREFIX):
        return
    if envelope[:3] != MAGIC:
        raise Malformed("the column does not hold an envelope")
    if not fits:
        raise Malformed("the envelope is too short or too long to be whole")
    raise UnknownFormat(f"envelope version {envelope[3]}, suite {envelope[4]} is not known here")


def data_key_id(envelope: bytes) -> UUID:
    """Return the id of the data key that an envelope names; raises as `check` does."""
    check(envelope)
    return UUID(bytes=envelope[DATA_KEY_ID])


# Labels are frozen strings, never model names: a renamed model must not kill its envelopes.
SECRET_VERSION_VALUE: Final = "secret-version.value"  # noqa: S105 - a label, no password
TARGET_CREDENTIALS: Final = "target.credentials"
SOURCE_CREDENTIALS: Final = "source.credentials"
ROTATOR_CREDENTIALS: Final = "rotator.credentials"
WEBHOOK_ADDRESS: Final = "webhook.address"
PENDING_VALUE: Final = "pending-value.value"
KEPT_COPY: Final = "kept-copy.value"
ENVIRONMENT_SNAPSHOT: Final = "environment-snapshot.values"

# The environment of rows that belong to the whole deployment.
NO_ENVIRONMENT: Final = UUID(int=0)
# The length prefixes of a uuid and of a version's number.
_UUID_LENGTH: Final = (16).to_bytes(2, "big")
_NUMBER_LENGTH: Final = (8).to_bytes(2, "big")


@dataclass(frozen=True, kw_only=True)
class Context:
    """The place of one value; an envelope opens with an equal context only.

    `parent` holds what the row itself belongs to, as bytes: for a secret's version what
    `version_parent` gives, for a credential the normalised endpoint it may be sent to.
    """

    deployment: UUID
    label: str
    row: UUID
    environment: UUID
    parent: tuple[bytes, ...] = ()
    # No part of the place: whether only a released receipt opens what is there.
    guarded: bool = field(default=False, compare=False)

    @property
    def max_plaintext_bytes(self) -> int:
        """How much one envelope of this place may hold."""
        return MAX_SNAPSHOT_BYTES if self.label == ENVIRONMENT_SNAPSHOT else MAX_PLAINTEXT_BYTES

    @cached_property
    def binding(self) -> bytes:
        """What follows the header in the additional authenticated data."""
        return _prefixed(
            self.deployment.bytes,
            self.label.encode("ascii"),
            self.row.bytes,
            self.environment.bytes,
            *self.parent,
        )


class VersionAad:
    """The bindings of the versions of one environment; what these share is built once."""

    def __init__(self, *, deployment: UUID, environment: UUID) -> None:
        self._until_row = _prefixed(deployment.bytes, SECRET_VERSION_VALUE.encode("ascii")) + _UUID_LENGTH
        self._until_secret = _prefixed(environment.bytes) + _UUID_LENGTH

    def of(self, version: bytes, secret: bytes, number: int) -> bytes:
        """Return `Context.binding` of a version; the uuids as bytes."""
        return b"".join(
            (
                self._until_row,
                version,
                self._until_secret,
                secret,
                _NUMBER_LENGTH,
                number.to_bytes(8, "big"),
            )
        )


def _prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def version_parent(*, secret: UUID, number: int) -> tuple[bytes, bytes]:
    """Return the parent of a secret's version: the secret's uuid and the number, 8 bytes big-endian."""
    return secret.bytes, number.to_bytes(8, "big")


_INFO: Final = b"keeper/v1" + bytes((SUITE,))


class PlainKey:
    """A data key in the clear: in memory only, without a repr, never pickled.

    Its HMACs are begun once and copied for each message, which takes less than half of beginning each.
    """

    __slots__ = ("_sha256", "_sha512", "id", "material")

    def __init__(self, *, id: UUID, material: bytes) -> None:
        if len(material) != DATA_KEY_BYTES:
            raise ValueError(f"a data key has {DATA_KEY_BYTES} bytes")
        self.id = id
        self.material = material
        self._sha256 = HMAC(material, SHA256())
        self._sha512 = HMAC(material, SHA512())

    def hmac_sha256(self, message: bytes) -> bytes:
        """Return the HMAC-SHA256 of a message under this key, 32 bytes."""
        state = self._sha256.copy()
        state.update(message)
        return state.finalize()

    def hmac_sha512(self, message: bytes) -> bytes:
        """Return the HMAC-SHA512 of a message under this key, 64 bytes."""
        state = self._sha512.copy()
        state.update(message)
        return state.finalize()

    def __repr__(self) -> str:
        return f"PlainKey(id={self.id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a data key in the clear does not leave the process")


def seal(plaintext: bytes, *, data_key: PlainKey, context: Context) -> bytes:
    """Return the envelope of 1 to 65,536 bytes (of a snapshot 4 MiB), bound to `context`.

    Raises InvalidPlaintext if there is nothing, or too much, to seal.
    """
    limit = context.max_plaintext_bytes
    return seal_bound(plaintext, data_key=data_key, binding=context.binding, limit=limit)


def seal_bound(
    plaintext: bytes, *, data_key: PlainKey, binding: bytes, limit: int = MAX_PLAINTEXT_BYTES
) -> bytes:
    """Seal as `seal` does, for the `binding` of a context that was built elsewhere."""
    fresh = secrets.token_bytes(SALT_BYTES + NONCE_BYTES)
    salt, nonce = fresh[:SALT_BYTES], fresh[SALT_BYTES:]
    return seal_with(plaintext, data_key=data_key, binding=binding, salt=salt, nonce=nonce, limit=limit)


def seal_with(
    plaintext: bytes,
    *,
    data_key: PlainKey,
    binding: bytes,
    salt: bytes,
    nonce: bytes,
    limit: int = MAX_PLAINTEXT_BYTES,
) -> bytes:
    """Seal with a given salt and nonce: for `seal_bound` and the published vectors alone."""
    if not 1 <= len(plaintext) <= limit:
        raise InvalidPlaintext(f"an envelope carries 1 to {limit:,} bytes")
    key_id = data_key.id.bytes
    key, commitment = _derived(data_key, key_id + salt)
    header = b"".join((PREFIX, key_id, salt, commitment, nonce))
    return header + AESGCM(key).encrypt(nonce, plaintext, header + binding)


def open_envelope(
    envelope: bytes | bytearray | memoryview,
    *,
    data_key_for: Callable[[UUID], PlainKey],
    context: Context,
) -> bytes:
    """Return the plaintext of an envelope that was sealed for `context`.

    `data_key_for` finds the data key by the id in the header; what it raises passes through.
    Raises Malformed or UnknownFormat if the bytes are no envelope of ours, and WrongContext if
    key, context or bytes are not those of the sealing.
    """
    envelope = bytes(envelope)
    check(envelope, limit=context.max_plaintext_bytes)
    data_key = data_key_for(UUID(bytes=envelope[DATA_KEY_ID]))
    return open_bound(envelope, data_key=data_key, binding=context.binding)


def open_bound(envelope: bytes, *, data_key: PlainKey, binding: bytes) -> bytes:
    """Open an envelope that `check` let pass, for the `binding` of a context that was built elsewhere.

    Raises WrongContext as `open_envelope` does.
    """
    key, commitment = _derived(data_key, envelope[ID_AND_SALT])
    if not compare_digest(commitment, envelope[COMMITMENT]):
        raise WrongContext("the envelope was not sealed under the data key that it names")
    try:
        return AESGCM(key).decrypt(
            envelope[NONCE], envelope[HEADER_BYTES:], envelope[:HEADER_BYTES] + binding
        )
    except InvalidTag as error:
        raise WrongContext("the envelope was edited, or belongs to another place") from error


def _derived(data_key: PlainKey, id_and_salt: bytes) -> tuple[bytes, bytes]:
    """Return the key and the commitment."""
    okm = data_key.hmac_sha512(_INFO + id_and_salt + b"\x01")
    return okm[:32], okm[32:]
