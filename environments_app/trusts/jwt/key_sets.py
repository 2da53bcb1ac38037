"""JSON Web Key Sets: the public keys that a platform signs with. No Django."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from environments_app.trusts.jwt.strict_json import BadJson, read_object

Key: TypeAlias = RSAKey | ECKey | OKPKey
# A set of keys, by algorithm and key id.
KeySet: TypeAlias = Mapping[tuple[str, str], Key]

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
MAX_KEY_SET_BYTES: Final = 256 * 1024
MAX_KEY_ID: Final = 200
_MAX_KEYS: Final = 100
# The members of a public key, by its type and curve, with the algorithm that it is for.
_PUBLIC: Final = MappingProxyType(
    {
        ("RSA", None): ("RS256", ("n", "e")),
        ("EC", "P-256"): ("ES256", ("crv", "x", "y")),
        ("OKP", "Ed25519"): ("EdDSA", ("crv", "x")),
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


def read_key_set(text: bytes | str, *, pasted: bool = False) -> KeySet:
    """Return the usable keys of a set; those of other kinds, without an id, or too weak are left out.

    Two keys of one id are ambiguous, and both are left out. Raises BadKeySet if none is left; and for a
    `pasted` set with a private key, which must not be stored.
    """
    if len(text) > MAX_KEY_SET_BYTES:
        raise BadKeySet("The key set is too large.")
    try:
        listed = read_object(text).get("keys")
    except BadJson as error:
        raise BadKeySet("The key set is not valid JSON.") from error
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise BadKeySet(f"A key set has a list of at most {_MAX_KEYS} keys.")
    if pasted and any(isinstance(each, dict) and _PRIVATE.intersection(each) for each in listed):
        raise BadKeySet("The key set holds a private key. Paste only public keys, and replace that key.")
    found: dict[tuple[str, str], Key] = {}
    ambiguous = set()
    for place, key in filter(None, map(_read_key, listed)):
        if place in found:
            ambiguous.add(place)
        found[place] = key
    kept = {place: key for place, key in found.items() if place not in ambiguous}
    if not kept:
        raise BadKeySet(f"The key set has no key for {', '.join(ALGORITHMS)} with an id.")
    return MappingProxyType(kept)


def _read_key(jwk: Any) -> tuple[tuple[str, str], Key] | None:
    """Return a key of a set with its algorithm and id, None if it is not usable."""
    if not isinstance(jwk, dict) or _PRIVATE.intersection(jwk) or jwk.get("use", "sig") != "sig":
        return None
    kind: tuple[Any, Any] = (jwk.get("kty"), jwk.get("crv"))
    kid, are_names = jwk.get("kid"), all(isinstance(name, str | None) for name in kind)
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KEY_ID or not are_names:
        return None
    algorithm, names = _PUBLIC.get(kind, ("", ()))
    stated = jwk.get("alg", algorithm)
    if not algorithm or not isinstance(stated, str) or _ALIASES.get(stated, stated) != algorithm:
        return None
    members = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) for value in members.values()) or not _is_sound(members):
        return None
    try:
        return (algorithm, kid), import_key({"kty": kind[0], **members})  # type: ignore[dict-item, return-value]  # texts all, and no oct
    except (JoseError, ValueError, TypeError):
        return None


def _is_sound(members: Mapping[str, Any]) -> bool:
    if "n" not in members:
        return True
    shortest, longest = _MODULUS
    return shortest <= len(members["n"]) <= longest and len(members["e"]) <= _MAX_EXPONENT
