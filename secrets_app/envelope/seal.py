"""Seals bytes into an envelope and opens it again: AES-256-GCM under a key of its own, committed.

Each envelope has a key derived from the data key and a fresh salt, so that a data key may seal
any number of values without a nonce ever being reused under one key:

    OKM = HKDF-Expand-SHA512(data key, "keeper/v1" | suite | data_key_id | salt, 64 bytes)
    key = OKM[:32]      commitment = OKM[32:]

One HMAC is the whole expand step, since the data key is uniform (RFC 5869, 3.3).
"""

import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.hmac import HMAC

from secrets_app.envelope.context import Context
from secrets_app.envelope.format import (
    COMMITMENT,
    DATA_KEY_BYTES,
    DATA_KEY_ID,
    HEADER_BYTES,
    ID_AND_SALT,
    MAX_PLAINTEXT_BYTES,
    NONCE,
    NONCE_BYTES,
    PREFIX,
    SALT_BYTES,
    SUITE,
    check,
)
from secrets_app.errors import InvalidPlaintext, WrongContext

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
