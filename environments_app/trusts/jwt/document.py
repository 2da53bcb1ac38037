"""A signed JWT as a document: parsed strictly, and its signature verified by one algorithm. No Django."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError

from environments_app.trusts.jwt.key_sets import MAX_KEY_ID, Key
from environments_app.trusts.jwt.strict_json import BadJson, read_object

MAX_BYTES: Final = 16 * 1024
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
_PARTS: Final = 3
# The types of a JWT that is no other kind of token; a missing one counts as the first.
_TYPES: Final = frozenset({"jwt", "at+jwt"})


class BadJwt(ValueError):
    """A text is no JWT that Keeper reads; `reason` is a fixed word for the audit log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Jwt:
    """A JWT that was parsed; nothing in it is proved yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    text: str

    def __repr__(self) -> str:
        return "Jwt()"

    @property
    def key_id(self) -> str:
        """The id of the key that should have signed it, "" without a usable one."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) and len(kid) <= MAX_KEY_ID else ""

    @property
    def algorithm(self) -> str:
        """The algorithm that it states, "" for none."""
        algorithm = self.header.get("alg")
        return algorithm if isinstance(algorithm, str) else ""

    def is_signed_by(self, key: Key, algorithm: str) -> bool:
        """Return whether a key signed it, by this algorithm and no other."""
        try:
            return bool(jws.deserialize_compact(self.text, key, registry=_OneAlgorithm(algorithm)))
        except (JoseError, ValueError, TypeError):
            return False


def parse_jwt(text: str) -> Jwt:
    """Return the JWT of a text. Raises BadJwt if it is too large, encrypted, nested, or ambiguous."""
    if len(text) > MAX_BYTES:
        _refuse("jwt-too-large")
    parts = text.split(".")
    if len(parts) != _PARTS or not all(map(_PART.fullmatch, parts)):
        _refuse("jwt-malformed")
    header, claims = (_object(part) for part in parts[:2])
    _decoded(parts[2])
    kind = header.get("typ", "jwt")
    # What an extension demands, or a JWT inside another, is not understood here.
    if "crit" in header or "b64" in header or "cty" in header:
        _refuse("jwt-header")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        _refuse("jwt-header")
    return Jwt(header, claims, text)


class _OneAlgorithm(jws.JWSRegistry):
    """Knows one algorithm; joserfc warns of the name EdDSA, which is what issuers write."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._algorithm = algorithm

    def get_alg(self, name: str) -> Any:
        """Return the algorithm. Raises UnsupportedAlgorithmError for any other."""
        if name != self._algorithm:
            raise UnsupportedAlgorithmError("another algorithm")
        return self.algorithms[name]


def _object(part: str) -> dict[str, Any]:
    try:
        return read_object(_decoded(part))
    except BadJson as error:
        _refuse("jwt-duplicate-claim" if error.duplicate else "jwt-malformed")


def _decoded(part: str) -> bytes:
    """Return the bytes of a part, in their one spelling."""
    try:
        found = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        _refuse("jwt-malformed")
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != part:
        _refuse("jwt-malformed")
    return found


def _refuse(reason: str) -> NoReturn:
    raise BadJwt(reason)
