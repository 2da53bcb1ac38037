"""Signature Version 4 of AWS, as its receiver computes it: no Django, no network.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_TERMINATOR: Final = "aws4_request"
_UNRESERVED: Final = "-_.~"
_HEADER_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_SCOPE_PART: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_SPACES: Final = re.compile(r" +")
_MAX_HEADERS: Final = 64
_PARTS: Final = ("Credential", "Signature", "SignedHeaders")


class IncompleteSignature(Exception):
    """An Authorization header lacks a part, or one is not of its form; the message names which."""


class Request(NamedTuple):
    """What is signed of a request; `path` is decoded, the names of `headers` are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Authorization(NamedTuple):
    """The parts of an Authorization header."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        """What the signing key is derived for."""
        return f"{self.date}/{self.region}/{self.service}/{_TERMINATOR}"


def parse_authorization(text: str) -> Authorization:
    """Return the parts of an Authorization header. Raises IncompleteSignature."""
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"The algorithm is not {ALGORITHM}.")
    pairs = (each.strip().partition("=") for each in rest.split(","))
    found = {name: value for name, _, value in pairs}
    for name in _PARTS:
        if not found.get(name):
            raise IncompleteSignature(f"Authorization header requires '{name}' parameter.")
    parts = found["Credential"].split("/")
    if len(parts) != 5 or parts[4] != _TERMINATOR or not all(map(_SCOPE_PART.fullmatch, parts[:4])):  # noqa: PLR2004 - key, date, region, service, end
        raise IncompleteSignature("Credential must name a key, a date, a region and a service.")
    if not _SIGNATURE.fullmatch(found["Signature"]):
        raise IncompleteSignature("Signature must be 64 hexadecimal digits.")
    key_id, date, region, service = parts[:4]
    return Authorization(key_id, date, region, service, _names(found["SignedHeaders"]), found["Signature"])


def is_signed_by(key: bytes, request: Request, given: Authorization, *, time: str) -> bool:
    """Return, in constant time, whether a request of that time (`X-Amz-Date`) is signed with a key."""
    return hmac.compare_digest(signature(key, request, given, time=time), given.signature)


def signing_key(key: str, given: Authorization) -> bytes:
    """Return what a key becomes for a day, a region and a service."""
    derived = f"AWS4{key}".encode()
    for part in (given.date, given.region, given.service, _TERMINATOR):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return derived


def signature(key: bytes, request: Request, given: Authorization, *, time: str) -> str:
    """Return the signature of a request under a signing key."""
    digest = hashlib.sha256(_canonical(request, given.signed_headers)).hexdigest()
    to_sign = f"{ALGORITHM}\n{time}\n{given.scope}\n{digest}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _canonical(request: Request, signed_headers: Sequence[str]) -> bytes:
    headers = [f"{name}:{_trimmed(request.headers.get(name, ''))}\n" for name in signed_headers]
    lines = (
        request.method,
        quote(request.path, safe=f"/{_UNRESERVED}"),
        _canonical_query(request.query),
        "".join(headers),
        ";".join(signed_headers),
        hashlib.sha256(request.body).hexdigest(),
    )
    return "\n".join(lines).encode()


def _canonical_query(query: str) -> str:
    """Return the pairs of a query in their order, encoded as they were sent."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))


def _trimmed(value: str) -> str:
    return _SPACES.sub(" ", value.strip()) if "  " in value else value.strip()


@lru_cache(maxsize=64)
def _names(text: str) -> tuple[str, ...]:
    signed = tuple(text.split(";"))
    usual = len(signed) <= _MAX_HEADERS and list(signed) == sorted(set(signed))
    if not usual or not all(map(_HEADER_NAME.fullmatch, signed)):
        raise IncompleteSignature("SignedHeaders must be names of headers in their order.")
    return signed
