"""A signed JWT and the keys that prove it: parsed strictly, verified by one algorithm. No Django.

The keys are a JSON Web Key Set: the public keys that a platform signs with. JSON from strangers is bounded,
without duplicate names, NaN or deep nesting.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

_MAX_NAMES: Final = 1000
_MAX_DEPTH: Final = 10


class BadJson(ValueError):
    """A text is not the JSON object that is expected; `duplicate` if one of its names comes twice."""

    def __init__(self, reason: str, *, duplicate: bool = False) -> None:
        super().__init__(reason)
        self.duplicate = duplicate


def read_object(text: bytes | str) -> dict[str, Any]:
    """Return the JSON object of a text. Raises BadJson."""
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_unique_names,
            parse_constant=_refuse_constant,
        )
        # Half of a surrogate pair is no text: it can be neither stored nor compared.
        json.dumps(value, ensure_ascii=False).encode()
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJson("it is not JSON") from error
    if not isinstance(value, dict):
        raise BadJson("it is not a JSON object")
    _refuse_deep(value, _MAX_DEPTH)
    return value


def _unique_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("a name comes twice", duplicate=True)
    if len(members) > _MAX_NAMES:
        raise BadJson("it has too many names")
    return members


def _refuse_constant(_name: str) -> None:
    raise BadJson("it holds NaN or Infinity")


def _refuse_deep(value: Any, depth: int) -> None:
    if depth == 0:
        raise BadJson("it is nested too deeply")
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        _refuse_deep(item, depth - 1)


Key: TypeAlias = RSAKey | ECKey | OKPKey
# A set of keys, by algorithm and key id.
KeySet: TypeAlias = Mapping[tuple[str, str], Key]

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA")
MAX_KEY_SET_BYTES: Final = 256 * 1024
MAX_KEY_ID: Final = 200
_MAX_KEYS: Final = 100
# The members of a public key, by its type and curve, with the algorithms that it may be for.
_PUBLIC: Final = MappingProxyType(
    {
        ("RSA", None): (("RS256", "RS384", "RS512", "PS256"), ("n", "e")),
        ("EC", "P-256"): (("ES256",), ("crv", "x", "y")),
        ("EC", "P-384"): (("ES384",), ("crv", "x", "y")),
        ("EC", "P-521"): (("ES512",), ("crv", "x", "y")),
        ("OKP", "Ed25519"): (("EdDSA",), ("crv", "x")),
    }
)
# Names of the same algorithm.
_ALIASES: Final = MappingProxyType({"Ed25519": "EdDSA"})
# In base64url: 2048 to 8192 bits of a modulus, and an exponent that costs little.
_MODULUS: Final = (341, 1366)
_MAX_EXPONENT: Final = 6
_PRIVATE: Final = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})


class BadKeySet(ValueError):
    """A text is no usable set of public keys, for the reason in its message."""


def read_key_set(text: bytes | str, *, pasted: bool = False, allows_none: bool = False) -> KeySet:
    """Return the usable keys of a set; those of other kinds, without an id, or too weak are left out.

    Two keys of one id are ambiguous, and both are left out. Raises BadKeySet if none is left, unless it
    `allows_none`; and for a `pasted` set with a private key, which must not be stored.
    """
    if len(text) > MAX_KEY_SET_BYTES:
        raise BadKeySet("The key set is too large.")
    try:
        listed = read_object(text).get("keys")
    except BadJson as error:
        raise BadKeySet("The key set is not valid JSON.") from error
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise BadKeySet(f"A key set has a list of at most {_MAX_KEYS} keys.")
    if pasted and any(isinstance(entry, dict) and _PRIVATE.intersection(entry) for entry in listed):
        raise BadKeySet("The key set holds a private key. Paste only public keys, and replace that key.")
    keys: dict[tuple[str, str], Key] = {}
    ambiguous: set[tuple[str, str]] = set()
    for places, key in filter(None, map(_read_key, listed)):
        if any(place in keys for place in places):
            # For none of the algorithms of the two.
            ambiguous.update(
                places, (each for each in keys if each[1] == places[0][1] and type(keys[each]) is type(key))
            )
        keys.update(dict.fromkeys(places, key))
    unambiguous = {place: key for place, key in keys.items() if place not in ambiguous}
    if not unambiguous and not allows_none:
        raise BadKeySet(f"The key set has no key for {', '.join(ALGORITHMS)} with an id.")
    return MappingProxyType(unambiguous)


def _read_key(jwk: Any) -> tuple[list[tuple[str, str]], Key] | None:
    """Return a key of a set with its id by each algorithm that it is for, None if it is not usable.

    A key that states its algorithm is for that one alone.
    """
    if not isinstance(jwk, dict) or _PRIVATE.intersection(jwk) or jwk.get("use", "sig") != "sig":
        return None
    kind: tuple[Any, Any] = (jwk.get("kty"), jwk.get("crv"))
    kid, are_names = jwk.get("kid"), all(isinstance(name, str | None) for name in kind)
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KEY_ID or not are_names:
        return None
    algorithms, names = _PUBLIC.get(kind, ((), ()))
    if "alg" in jwk:
        stated = jwk["alg"]
        algorithms = tuple(
            each for each in algorithms if isinstance(stated, str) and _ALIASES.get(stated, stated) == each
        )
    if not algorithms:
        return None
    members = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) for value in members.values()) or not _is_sound(members):
        return None
    try:
        key = import_key({"kty": kind[0], **members})  # type: ignore[dict-item]  # texts all
    except (JoseError, ValueError, TypeError):
        return None
    return [(algorithm, kid) for algorithm in algorithms], key  # type: ignore[return-value]  # no oct


def _is_sound(members: Mapping[str, Any]) -> bool:
    if "n" not in members:
        return True
    shortest, longest = _MODULUS
    return shortest <= len(members["n"]) <= longest and len(members["e"]) <= _MAX_EXPONENT


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


def parse_jwt(text: str, *, types: frozenset[str] = _TYPES) -> Jwt:
    """Return the JWT of a text. Raises BadJwt if it is too large, encrypted, nested, or ambiguous.

    `types` are the kinds of token that it may state to be, in lower case; a missing one counts as "jwt".
    """
    # What `echo` and editors add to a file.
    text = text.removesuffix("\n").removesuffix("\r")
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
    if not isinstance(kind, str) or kind.lower() not in types:
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
        content = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        _refuse("jwt-malformed")
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != part:
        _refuse("jwt-malformed")
    return content


def _refuse(reason: str) -> NoReturn:
    raise BadJwt(reason)
