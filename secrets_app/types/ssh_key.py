"""SSH keys and their wire format: a private key (OpenSSH or PEM, encrypted or not) or a public key line.

The OpenSSH wire format (RFC 4251, PROTOCOL.key) shows what can be read without a passphrase.
"""

import base64
import binascii
import contextlib
import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from secrets_app.types import pem
from secrets_app.types.bounds import Facts, refused

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
    if end > len(data):
        raise Truncated
    return data[start:end], end


OPENSSH_LABEL = "OPENSSH PRIVATE KEY"
MAX_COMMENT_LENGTH = 255

# type on the wire -> (algorithm, bits; 0: read from the key)
_TYPES = {
    "ssh-ed25519": ("Ed25519", 256),
    "ssh-rsa": ("RSA", 0),
    "ecdsa-sha2-nistp256": ("ECDSA", 256),
    "ecdsa-sha2-nistp384": ("ECDSA", 384),
    "ecdsa-sha2-nistp521": ("ECDSA", 521),
    "sk-ssh-ed25519@openssh.com": ("Ed25519-SK", 256),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("ECDSA-SK", 256),
}
_UNSUPPORTED = "The SSH key is of an unsupported kind: use Ed25519, ECDSA (P-256, P-384, P-521) or RSA."
_UNREADABLE = "The SSH key cannot be read: paste the whole file unchanged."


def inspect_ssh_key(value: str) -> Facts:
    """Return the key's algorithm, bits, fingerprint and comment, and whether it is private and encrypted.

    An encrypted key is taken without its passphrase. Its fingerprint is known when the OpenSSH format
    carries the public key in clear; a passphrase-protected PEM file carries none.

    Raises InvalidValue if it is not exactly one key of a supported kind, or its halves do not match.
    """
    if value.startswith("PuTTY-User-Key-File"):
        raise refused("This is a PuTTY key: convert it with `puttygen -O private-openssh` first.")
    if value.startswith("---- BEGIN SSH2"):
        raise refused("This is an SSH2 public key: convert it with `ssh-keygen -i` first.")
    blocks = pem.blocks(value)
    if not blocks:
        return _public_line(value)
    if value.strip() != blocks[0].text.strip():
        raise refused("The value holds more than one private key: keep one, and nothing around it.")
    return _private(blocks[0])


def _private(block: pem.Block) -> Facts:
    if block.label == OPENSSH_LABEL:
        return _openssh(block)
    if block.label not in pem.KEY_LABELS:
        raise refused("The PEM block is not a private key in OpenSSH, PKCS#8, PKCS#1 or SEC 1 format.")
    if block.is_encrypted:
        return {"has_private": True, "encrypted": True}
    public = pem.private_key(block).public_key()
    return _facts(_blob(public), comment="", has_private=True)


def _openssh(block: pem.Block) -> Facts:
    container = None
    try:
        container = read_container(block.content)
        supported = key_type(container.public_blob) in _TYPES
    except Truncated:
        supported = True
    if container is None or len(block.content) > pem.MAX_KEY_BYTES:
        raise refused(_UNREADABLE)
    if not supported:
        raise refused(_UNSUPPORTED)
    if not container.is_encrypted and not key_type(container.public_blob).startswith("sk-"):
        _check_halves(block, container)
    return _facts(container.public_blob, comment=container.comment, has_private=True) | (
        {"encrypted": True} if container.is_encrypted else {}
    )


def _check_halves(block: pem.Block, container: Container) -> None:
    key: object = None
    # The library's messages can quote the key; checked_key() raises without them.
    with contextlib.suppress(*pem.PARSE_ERRORS):
        key = serialization.load_ssh_private_key(
            block.text.encode(), None, unsafe_skip_rsa_key_validation=True
        )
    if _blob(pem.checked_key(key).public_key()) != container.public_blob:
        raise refused("The private and the public half of the SSH key do not belong together: it is damaged.")


def _public_line(value: str) -> Facts:
    lines = value.strip().splitlines()
    if len(lines) != 1:
        raise refused("The value is neither a private key nor one public key line: give one SSH key.")
    kind, _, rest = lines[0].partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        blob = b""
    if not blob or not kind.isascii():
        raise refused(
            "The value is not an SSH key: give a private key, or a line such as `ssh-ed25519 AAAA…`."
        )
    if kind not in _TYPES:
        raise refused(_UNSUPPORTED)
    return _facts(blob, comment=comment.strip(), has_private=False, kind=kind)


def _facts(blob: bytes, *, comment: str, has_private: bool, kind: str | None = None) -> Facts:
    try:
        kind_on_wire = key_type(blob)
    except Truncated:
        kind_on_wire = None
    if kind_on_wire is None or (kind is not None and kind != kind_on_wire):
        raise refused(_UNREADABLE)
    if kind_on_wire not in _TYPES:
        raise refused(_UNSUPPORTED)
    algorithm, bits = _TYPES[kind_on_wire]
    facts: Facts = {
        "algorithm": algorithm,
        "bits": _checked_bits(kind_on_wire, blob) or bits,
        "fingerprint": fingerprint(blob),
        "has_private": has_private,
    }
    if comment and comment.isprintable():
        facts["comment"] = comment[:MAX_COMMENT_LENGTH]
    return facts


def _checked_bits(kind: str, blob: bytes) -> int:
    """Return the bits of an RSA key, 0 of others. Raises InvalidValue if the public key does not parse."""
    key: object = None
    with contextlib.suppress(*pem.PARSE_ERRORS):
        key = serialization.load_ssh_public_key(f"{kind} {base64.b64encode(blob).decode()}".encode())
    if key is None:
        raise refused(_UNREADABLE)
    if not isinstance(key, rsa.RSAPublicKey):
        return 0
    if key.key_size > pem.MAX_RSA_BITS:
        raise refused(f"The RSA key has more than {pem.MAX_RSA_BITS:,} bits: use a smaller one.")
    return key.key_size


def _blob(key: pem.PublicKey) -> bytes:
    is_other_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in {
        "secp256r1",
        "secp384r1",
        "secp521r1",
    }
    if is_other_curve or isinstance(key, ed448.Ed448PublicKey):
        raise refused(_UNSUPPORTED)
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return base64.b64decode(line.split(b" ")[1])
