"""Encrypts a stream to the age format, version 1 (C2SP age.md), which the program `age` decrypts.

    header  = "age-encryption.org/v1" | a stanza for each recipient | "---" MAC
    payload = nonce of 16 bytes | chunks of 64 KiB by ChaCha20-Poly1305 (STREAM)

The file key is random and serves one file. Recipients are X25519 public keys, or one passphrase by scrypt.
"""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import BinaryIO, Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from operations_app.backup.archive.format import ChunkWriter
from operations_app.export_all.errors import ExportError

MIN_PASSPHRASE: Final = 12
_INTRO: Final = b"age-encryption.org/v1"
_KEY_BYTES: Final = 16
# What `age` takes by default: 256 MiB for about a second.
_WORK_FACTOR: Final = 18
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6
_PUBLIC_BYTES: Final = 32


def begin(target: BinaryIO, *, recipients: Sequence[str] = (), passphrase: str = "") -> ChunkWriter:
    """Write the header, and return what takes the plain bytes; its `finish` writes the last chunk.

    Raises ExportError for what is no recipient, and for a short passphrase.
    """
    file_key, nonce = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(16)
    stanzas = [_by_public_key(public_key(each), file_key) for each in recipients]
    # The format has a passphrase alone, or recipients.
    stanzas = stanzas or [_by_passphrase(passphrase, file_key)]
    header = b"\n".join([_INTRO, *stanzas, b"---"])
    mac = hmac.HMAC(_derived(file_key, salt=b"", info=b"header"), hashes.SHA256())
    mac.update(header)
    target.write(header + b" " + _text(mac.finalize()) + b"\n" + nonce)
    return ChunkWriter(target, _derived(file_key, salt=nonce, info=b"payload"), ChaCha20Poly1305)


def _by_public_key(recipient: bytes, file_key: bytes) -> bytes:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:
        raise ExportError("The age recipient is no usable public key.") from None
    key = _derived(shared, salt=share + recipient, info=_INTRO + b"/X25519")
    return b"-> X25519 " + _text(share) + b"\n" + _wrapped(key, file_key)


def _by_passphrase(passphrase: str, file_key: bytes) -> bytes:
    require_passphrase(passphrase)
    salt = secrets.token_bytes(16)
    key = Scrypt(salt=_INTRO + b"/scrypt" + salt, length=32, n=1 << _WORK_FACTOR, r=8, p=1)
    head = b"-> scrypt " + _text(salt) + b" %d\n" % _WORK_FACTOR
    return head + _wrapped(key.derive(passphrase.encode()), file_key)


def require_passphrase(passphrase: str) -> None:
    """Raise ExportError for a short one."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise ExportError(f"Choose a passphrase of at least {MIN_PASSPHRASE} characters.")


def _wrapped(key: bytes, file_key: bytes) -> bytes:
    return _text(ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))


def _derived(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def _text(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def public_key(recipient: str) -> bytes:
    """Return the key of a recipient, `age1` and Bech32 (BIP 173). Raises ExportError."""
    head, _, data = recipient.strip().lower().rpartition("1")
    values = [_BECH32.find(character) for character in data]
    five = [*(ord(each) >> 5 for each in head), 0, *(ord(each) & 31 for each in head), *values]
    if head != "age" or -1 in values or _polymod(five) != 1:
        raise ExportError(f"{recipient[:80]} is no age recipient, which begins with age1.")
    bits = "".join(f"{value:05b}" for value in values[:-_CHECKSUM])
    if len(bits) // 8 != _PUBLIC_BYTES:
        raise ExportError("The age recipient is not a public key of 32 bytes.")
    return int(bits[: _PUBLIC_BYTES * 8], 2).to_bytes(_PUBLIC_BYTES, "big")


def _polymod(values: Sequence[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> index & 1 else 0
    return checksum
