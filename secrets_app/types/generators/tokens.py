"""API keys, tokens and UUIDs: random bytes that a machine presents."""

import base64
import math
import re
import secrets
import string
import uuid
from collections.abc import Callable

from secrets_app.errors import InvalidOption
from secrets_app.types.generators.options import Generated, Generator, Option
from secrets_app.types.registry import SecretType

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIX = re.compile(r"[A-Za-z0-9_.-]*")
UUID4_BITS = 122


def base62(size: int) -> str:
    """Return random letters and digits, as many as carry `size` bytes of entropy."""
    length = math.ceil(size * 8 / math.log2(len(_BASE62)))
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def base64url(size: int) -> str:
    """Return `size` random bytes in the URL-safe Base64 of RFC 4648, section 5, without padding."""
    return base64.urlsafe_b64encode(secrets.token_bytes(size)).decode().rstrip("=")


_ENCODINGS: dict[str, Callable[[int], str]] = {
    "base62": base62,
    "base64url": base64url,
    "hex": secrets.token_hex,
}


def make_api_key(*, size: int, encoding: str, prefix: str) -> Generated:
    """Return an API key of `size` random bytes after `prefix`. Raises InvalidOption for a bad prefix."""
    if _PREFIX.fullmatch(prefix) is None:
        raise InvalidOption("prefix", "A prefix has letters, digits and _ . - only.")
    return Generated(prefix + _ENCODINGS[encoding](size), SecretType.API_KEY, None, size * 8)


def make_token(*, size: int) -> Generated:
    """Return `size` random bytes in URL-safe Base64."""
    return Generated(base64url(size), SecretType.API_KEY, None, size * 8)


def make_uuid() -> Generated:
    """Return a random UUID (RFC 9562, version 4), which has 122 random bits."""
    random_bytes = secrets.token_bytes(16)
    return Generated(str(uuid.UUID(bytes=random_bytes, version=4)), SecretType.API_KEY, None, UUID4_BITS)


_SIZE = Option(
    name="size",
    label="Random bytes",
    kind="integer",
    default=32,
    minimum=16,
    maximum=128,
    help="Each byte is 8 bits of entropy.",
)

API_KEY = Generator(
    kind="api_key",
    label="API key",
    secret_type=SecretType.API_KEY,
    make=make_api_key,
    options=(
        _SIZE,
        Option(name="encoding", label="Encoding", kind="choice", default="base62", choices=tuple(_ENCODINGS)),
        Option(
            name="prefix",
            label="Prefix",
            kind="text",
            default="",
            maximum=32,
            help="For example, live_ or ci_. Helps people and scanners recognize the key.",
        ),
    ),
)
TOKEN = Generator(
    kind="token", label="Token", secret_type=SecretType.API_KEY, make=make_token, options=(_SIZE,)
)
UUID = Generator(kind="uuid", label="UUID", secret_type=SecretType.API_KEY, make=make_uuid, options=())
