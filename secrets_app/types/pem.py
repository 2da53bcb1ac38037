"""PEM: the blocks of a text, private keys read from them within bounds, and the DER needed for that.

Just enough DER (X.690) is read to see which algorithm a private key is for before it is parsed.
"""

import base64
import binascii
import contextlib
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from secrets_app.types.bounds import refused

_SEQUENCE, _INTEGER, _OBJECT_IDENTIFIER = 0x30, 0x02, 0x06
_LONG_FORM = 0x80


def key_algorithm(pkcs8: bytes) -> str | None:
    """Return the dotted algorithm identifier of an unencrypted PKCS#8 key (RFC 5958), None if it has none."""
    body = _content(pkcs8, 0, _SEQUENCE)
    version = _content(pkcs8, body[0], _INTEGER) if body else None
    identifier = _content(pkcs8, version[1], _SEQUENCE) if version else None
    oid = _content(pkcs8, identifier[0], _OBJECT_IDENTIFIER) if identifier else None
    return _dotted(pkcs8[oid[0] : oid[1]]) if oid else None


def is_sequence(data: bytes) -> bool:
    """Return whether `data` is exactly one SEQUENCE."""
    body = _content(data, 0, _SEQUENCE)
    return body is not None and body[1] == len(data)


def _content(data: bytes, position: int, tag: int) -> tuple[int, int] | None:
    """Return where the content of the element at `position` begins and ends, None if it has another tag."""
    if position + 2 > len(data) or data[position] != tag:
        return None
    length, start = data[position + 1], position + 2
    if length & _LONG_FORM:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets])
        start += octets
    return (start, start + length) if start + length <= len(data) else None


def _dotted(oid: bytes) -> str:
    arcs: list[int] = []
    value = 0
    for octet in oid:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        return ""
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)

# What `cryptography` raises for bytes that do not parse (InternalError: for finite-field Diffie-Hellman).
PARSE_ERRORS = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)

# OpenSSL's own bound; such a key has less than 13 KiB.
MAX_RSA_BITS = 16_384
MAX_KEY_BYTES = 13 * 1024

PLAIN_KEY_LABELS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
ENCRYPTED_KEY_LABEL = "ENCRYPTED PRIVATE KEY"
KEY_LABELS = PLAIN_KEY_LABELS | {ENCRYPTED_KEY_LABEL}

# RSA, EC, Ed25519, Ed448. Others are refused before OpenSSL sees them: it tests the parameters of a DSA
# key for minutes.
_KEY_ALGORITHMS = frozenset({"1.2.840.113549.1.1.1", "1.2.840.10045.2.1", "1.3.101.112", "1.3.101.113"})
_BEGIN = re.compile(r"^-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,40})-----[ \t\r]*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One PEM block: its label, its headers (RFC 1421, as old OpenSSL writes them) and its decoded bytes."""

    label: str
    is_encrypted: bool
    content: bytes = field(repr=False)
    text: str = field(repr=False)


def blocks(value: str) -> list[Block]:
    """Return the PEM blocks of `value` in order; text between them is skipped, as OpenSSL does.

    Raises InvalidValue if a block does not end or is not Base64.
    """
    found_blocks: list[Block] = []
    position = 0
    while (begin := _BEGIN.search(value, position)) is not None:
        end_line = f"-----END {begin[1]}-----"
        end = value.find(end_line, begin.end())
        if end < 0:
            raise refused(f"PEM block {len(found_blocks) + 1} has no end line: paste it whole.")
        body = value[begin.end() : end]
        position = end + len(end_line)
        found_blocks.append(
            _block(begin[1], body, value[begin.start() : position], number=len(found_blocks) + 1)
        )
    return found_blocks


def _block(label: str, body: str, text: str, *, number: int) -> Block:
    lines = [line.strip() for line in body.strip().splitlines()]
    # Base64 has no colon; the headers of an encrypted old-style key do.
    headers = [line for line in lines if ":" in line]
    encoded = "".join(line for line in lines if ":" not in line)
    try:
        content = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        content = b""
    if not content:
        raise refused(f"PEM block {number} is not valid Base64: paste it unchanged.")
    if label == ENCRYPTED_KEY_LABEL and not is_sequence(content):
        raise refused(f"PEM block {number} is not an encrypted private key: paste it unchanged.")
    is_encrypted = label == ENCRYPTED_KEY_LABEL or any(line.startswith("DEK-Info:") for line in headers)
    return Block(label, is_encrypted=is_encrypted, content=content, text=text)


def private_key(block: Block) -> PrivateKey:
    """Read the unencrypted private key in `block` (PKCS#8, PKCS#1 or SEC 1).

    Raises InvalidValue if it does not parse, is too large, or is neither RSA, EC, Ed25519 nor Ed448.
    """
    if len(block.content) > MAX_KEY_BYTES:
        raise refused(f"The private key is larger than RSA with {MAX_RSA_BITS:,} bits: use a smaller one.")
    if block.label == "PRIVATE KEY" and key_algorithm(block.content) not in _KEY_ALGORITHMS:
        raise refused("The private key is of an unsupported kind: use RSA, ECDSA or Ed25519.")
    key: object = None
    # The library's messages can quote the key; ours is raised without them.
    with contextlib.suppress(*PARSE_ERRORS):
        key = serialization.load_pem_private_key(
            block.text.encode(),
            None,
            # Testing big primes takes seconds; `checked_key` looks at the arithmetic instead.
            unsafe_skip_rsa_key_validation=True,
        )
    return checked_key(key)


def checked_key(key: object) -> PrivateKey:
    """Return `key` if it is a private key that Keeper takes. Raises InvalidValue if it is None or another."""
    if key is None:
        raise refused("The private key cannot be read: paste the whole file unchanged.")
    if not isinstance(key, PrivateKey):
        raise refused("The private key is of an unsupported kind: use RSA, ECDSA or Ed25519.")
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size > MAX_RSA_BITS:
            raise refused(f"The RSA key has more than {MAX_RSA_BITS:,} bits: use a smaller one.")
        numbers = key.private_numbers()
        p, q, product = numbers.p, numbers.q, numbers.d * numbers.public_numbers.e
        if p < 2 or q < 2 or p * q != numbers.public_numbers.n:  # noqa: PLR2004 - no factor
            raise refused("The numbers of the RSA key do not belong together: it is damaged.")
        if (product - 1) % (p - 1) or (product - 1) % (q - 1):
            raise refused("The numbers of the RSA key do not belong together: it is damaged.")
    return key


def algorithm(key: PublicKey) -> tuple[str, int]:
    """Return the name of the key's algorithm and its size in bits."""
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA", key.curve.key_size
    return ("Ed25519", 256) if isinstance(key, ed25519.Ed25519PublicKey) else ("Ed448", 456)


def spki(key: PublicKey) -> bytes:
    """Return the DER of the key's SubjectPublicKeyInfo, by which two public keys are compared."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
