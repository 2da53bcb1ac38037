"""The OpenSSH wire format (RFC 4251, PROTOCOL.key): what can be read without a passphrase."""

import base64
import hashlib
from dataclasses import dataclass, field

_MAGIC = b"openssh-key-v1\0"
_LENGTH = 4
# The strings of each kind of key in the private section, before the comment.
_PRIVATE_FIELDS = {
    "ssh-rsa": 6,
    "ssh-ed25519": 2,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
}


class Truncated(ValueError):
    """The bytes end within a field; it never leaves this package."""


@dataclass(frozen=True)
class Container:
    """An OpenSSH private key file: its one public key in clear and, unless it is encrypted, its comment."""

    public_blob: bytes
    is_encrypted: bool
    comment: str
    _private: bytes = field(default=b"", repr=False)


def read_container(content: bytes) -> Container:
    """Read the container in the decoded PEM block `content`. Raises Truncated if it is none with one key."""
    if not content.startswith(_MAGIC):
        raise Truncated
    cipher, position = _string(content, len(_MAGIC))
    _kdf, position = _string(content, position)
    _options, position = _string(content, position)
    if content[position : position + _LENGTH] != (1).to_bytes(_LENGTH):
        raise Truncated
    public_blob, position = _string(content, position + _LENGTH)
    private, _end = _string(content, position)
    is_encrypted = cipher != b"none"
    return Container(public_blob, is_encrypted, "" if is_encrypted else _comment(private))


def key_type(blob: bytes) -> str:
    """Return the type that a public key blob names ("ssh-ed25519"). Raises Truncated if it names none."""
    return _string(blob, 0)[0].decode("ascii", errors="replace")


def fingerprint(blob: bytes) -> str:
    """Return the SHA-256 fingerprint of a public key blob as `ssh-keygen -l` writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _comment(private: bytes) -> str:
    name, position = _string(private, 2 * _LENGTH)
    for _field in range(_PRIVATE_FIELDS.get(name.decode("ascii", errors="replace"), 0)):
        _value, position = _string(private, position)
    return _string(private, position)[0].decode("utf-8", errors="replace")


def _string(data: bytes, position: int) -> tuple[bytes, int]:
    start = position + _LENGTH
    end = start + int.from_bytes(data[position:start])
    if start > len(data) or end > len(data):
        raise Truncated
    return data[start:end], end
