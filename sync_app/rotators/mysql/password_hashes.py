"""The hashes that MySQL and MariaDB keep of passwords, computed here: the server never reads a password.

Each is what follows `IDENTIFIED WITH plugin AS`.
"""

import base64
import hashlib
import secrets
import string
from collections.abc import Callable
from typing import Final

from nacl import bindings

_SALT_LENGTH: Final = 20
_ROUNDS: Final = 5_000
_CRYPT_ALPHABET: Final = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase


def hash_native(password: str) -> str:
    """Return the hash of mysql_native_password: `*` and the hexadecimal SHA-1 of the SHA-1."""
    once = hashlib.sha1(password.encode()).digest()  # noqa: S324  what the server keeps
    return "*" + hashlib.sha1(once).hexdigest().upper()  # noqa: S324


def hash_ed25519(password: str) -> str:
    """Return the public key of MariaDB's ed25519, whose secret is the SHA-512 of the password."""
    secret = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 127 | 64
    public: bytes = bindings.crypto_scalarmult_ed25519_base_noclamp(bytes(secret))
    return base64.b64encode(public).decode().rstrip("=")


def hash_caching_sha2(password: str) -> str:
    """Return the hash of MySQL 8's caching_sha2_password, with a new salt."""
    salt = "".join(secrets.choice(_CRYPT_ALPHABET) for _ in range(_SALT_LENGTH))
    return f"$A$005${salt}{sha256_crypt(password.encode(), salt.encode())}"


def sha256_crypt(password: bytes, salt: bytes) -> str:
    """Return the 43 characters of SHA-crypt with SHA-256 and 5,000 rounds.

    The algorithm is Drepper's "Unix crypt using SHA-256 and SHA-512"; MySQL takes 20 bytes of salt
    where that stops at 16, which is why no library has it.
    """
    length = len(password)
    second = hashlib.sha256(password + salt + password).digest()
    first = hashlib.sha256(password + salt + _repeat(second, length))
    bits = length
    while bits:
        first.update(second if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    p = _repeat(hashlib.sha256(password * length).digest(), length)
    s = _repeat(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))
    for number in range(_ROUNDS):
        start, end = (p, digest) if number % 2 else (digest, p)
        middle = (s if number % 3 else b"") + (p if number % 7 else b"")
        digest = hashlib.sha256(start + middle + end).digest()
    return _crypt_base64(digest)


HASHES: Final[dict[str, Callable[[str], str]]] = {
    "mysql_native_password": hash_native,
    "ed25519": hash_ed25519,
    "caching_sha2_password": hash_caching_sha2,
}


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _crypt_base64(digest: bytes) -> str:
    """Return the digest in crypt's own order and alphabet, four characters for three bytes."""
    groups = [(index * 21 % 30, (index * 21 + 10) % 30, (index * 21 + 20) % 30) for index in range(10)]
    text = "".join(_characters(int.from_bytes([digest[i] for i in group]), 4) for group in groups)
    return text + _characters(int.from_bytes([digest[31], digest[30]]), 3)


def _characters(number: int, count: int) -> str:
    return "".join(_CRYPT_ALPHABET[number >> 6 * index & 63] for index in range(count))
