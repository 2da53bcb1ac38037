"""The rules by which a trust judges a JWT, each with what was demanded and what was found. No Django.

A trust demands of a claim an exact value, or a pattern with a few bounded `*`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from environments_app.trusts.jwt.document import Jwt, Key

STAR: Final = "*"
MAX_VALUE: Final = 1000
_MAX_STARS: Final = 3
# So many characters come before the first star: a pattern names something.
_MIN_BEGINNING: Final = 3
_DELIMITERS: Final = re.compile(r"([/:])")
_CLAIM: Final = re.compile(r"[A-Za-z0-9_./~:#-]{1,200}")


class BadPattern(ValueError):
    """A pattern or the name of a claim is refused, for the reason in its message."""


def require_claim_name(name: str) -> None:
    """Raise BadPattern unless a text can name a claim: `sub`, or a pointer (`/kubernetes.io/namespace`)."""
    if not _CLAIM.fullmatch(name):
        raise BadPattern("The name of a claim has letters, digits and _./~:#- only.")


def require_pattern(pattern: str) -> None:
    """Raise BadPattern unless a pattern is a printable value with few stars after a literal beginning."""
    if not pattern or len(pattern) > MAX_VALUE or not pattern.isprintable():
        raise BadPattern(f"The value of a claim is printable text of 1 to {MAX_VALUE} characters.")
    if pattern.count(STAR) > _MAX_STARS:
        raise BadPattern(f"A pattern has at most {_MAX_STARS} stars.")
    if STAR in pattern and pattern.index(STAR) < _MIN_BEGINNING:
        raise BadPattern(f"A pattern begins with at least {_MIN_BEGINNING} characters before its first star.")


def is_exact(pattern: str) -> bool:
    """Return whether a pattern is one value."""
    return STAR not in pattern


def matches(pattern: str, value: str) -> bool:
    """Return whether a value fits: a star stands for any characters but `/` and `:`.

    Takes linear time: what lies between delimiters is compared piece by piece.
    """
    if is_exact(pattern):
        return pattern == value
    pattern_parts, value_parts = _DELIMITERS.split(pattern), _DELIMITERS.split(value)
    return len(pattern_parts) == len(value_parts) and all(map(_fits, pattern_parts, value_parts))


def claim_texts(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the values of a claim as texts: one, several for a list, none if it is missing or an object."""
    value = _pointed(claims, name) if name.startswith("/") else claims.get(name)
    values = value if isinstance(value, list) else [value]
    return [text for text in map(_text, values) if text is not None and len(text) <= MAX_VALUE]


def _fits(pattern: str, value: str) -> bool:
    first, *others = pattern.split(STAR)
    if not others:
        return pattern == value
    *inner, last = others
    if not value.startswith(first) or not value.endswith(last) or len(value) < len(first) + len(last):
        return False
    place, end = len(first), len(value) - len(last)
    for piece in inner:
        index = value.find(piece, place, end)
        if index < 0:
            return False
        place = index + len(piece)
    return True


def _pointed(claims: Mapping[str, Any], pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) through objects leads to."""
    value: Any = claims
    for step in pointer[1:].split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step.replace("~1", "/").replace("~0", "~"))
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | str) else None


LEEWAY_SECONDS: Final = 30
MAX_SUBJECT: Final = 500
MAX_ID: Final = 200
# A day before the end of the year 9999, which leaves room for the leeway: what is later is no time.
_LATEST: Final = 253402214400
_SHOWN: Final = 200


class Check(NamedTuple):
    """A rule that a JWT meets or fails; `reason` is a fixed word for the audit log."""

    reason: str
    rule: str
    passed: bool
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, kw_only=True)
class TrustRules:
    """What a trust demands of a JWT."""

    issuer: str
    audience: str
    algorithm: str
    # Claim to the value or pattern that it has to fit.
    claims: Mapping[str, str] = field(default_factory=dict)
    max_age_seconds: int = 3600
    single_use: bool = False
    # Whether the audience may be one of several.
    lists_audiences: bool = False
    # Claims that must not have a value.
    refused: Mapping[str, str] = field(default_factory=dict)


def examine(
    jwt: Jwt, rules: TrustRules, key: Key | None, *, now: float, needs_subject: bool = True
) -> Iterator[Check]:
    """Yield each rule and whether a JWT meets it; all must. `key` is the one that its header names, if known.

    Nothing after the signature counts unless that is valid.
    """
    yield Check(
        "jwt-algorithm", "algorithm", jwt.algorithm == rules.algorithm, rules.algorithm, jwt.algorithm
    )
    yield Check("jwt-no-kid", "key id", bool(jwt.key_id), "a key id", jwt.key_id)
    wanted = f"a key of the issuer for {rules.algorithm}"
    yield Check("jwt-unknown-key", "key", key is not None, wanted, jwt.key_id)
    signed = key is not None and jwt.is_signed_by(key, rules.algorithm)
    yield Check("jwt-signature", "signature", signed, "signed by the issuer", "" if signed else "not valid")
    claims = jwt.claims
    issuer, audience = claims.get("iss"), claims.get("aud")
    yield Check("jwt-issuer", "iss", issuer == rules.issuer, rules.issuer, shown(issuer))
    yield Check("jwt-audience", "aud", _is_meant(audience, rules), rules.audience, shown(audience))
    yield from _times(claims, rules, now)
    subject = claims.get("sub")
    has_subject = isinstance(subject, str) and 1 <= len(subject) <= MAX_SUBJECT
    yield Check("jwt-subject", "sub", has_subject or not needs_subject, "a subject", shown(subject))
    if rules.single_use:
        unique = claims.get("jti")
        has_id = isinstance(unique, str) and 1 <= len(unique) <= MAX_ID
        yield Check("jwt-no-id", "jti", has_id, "an id of its own", shown(unique))
    yield from _claims(claims, rules)


def _is_meant(audience: Any, rules: TrustRules) -> bool:
    """Return whether the audience is the trust's; among others only where the platform lists several."""
    if isinstance(audience, list) and rules.lists_audiences:
        return rules.audience in audience and all(isinstance(each, str) for each in audience)
    return audience in (rules.audience, [rules.audience])


def first_failure(
    jwt: Jwt, rules: TrustRules, key: Key | None, *, now: float, needs_subject: bool = True
) -> Check | None:
    """Return the first rule that a JWT fails, None if it meets all."""
    checks = examine(jwt, rules, key, now=now, needs_subject=needs_subject)
    return next((check for check in checks if not check.passed), None)


def _times(claims: Mapping[str, Any], rules: TrustRules, now: float) -> Iterator[Check]:
    ends, issued = _time(claims.get("exp")), _time(claims.get("iat"))
    begins = _time(claims["nbf"]) if "nbf" in claims else 0.0
    living = ends is not None and now < ends + LEEWAY_SECONDS
    yield Check("jwt-expired", "exp", living, "in the future", shown(claims.get("exp")))
    past = issued is not None and issued <= now + LEEWAY_SECONDS
    yield Check("jwt-not-yet-valid", "iat", past, "in the past", shown(claims.get("iat")))
    is_begun = begins is not None and begins <= now + LEEWAY_SECONDS
    yield Check("jwt-not-yet-valid", "nbf", is_begun, "in the past, or missing", shown(claims.get("nbf")))
    young = issued is not None and now - issued <= rules.max_age_seconds + LEEWAY_SECONDS
    expected = f"issued within {rules.max_age_seconds // 60} minutes"
    yield Check("jwt-too-old", "age", young, expected, shown(claims.get("iat")))


def _claims(claims: Mapping[str, Any], rules: TrustRules) -> Iterator[Check]:
    for name, pattern in sorted(rules.claims.items()):
        texts = claim_texts(claims, name)
        fits = any(matches(pattern, text) for text in texts)
        yield Check("jwt-claim", name, fits, pattern, ", ".join(map(shown, texts)))
    for name, value in sorted(rules.refused.items()):
        texts = claim_texts(claims, name)
        yield Check("jwt-claim", name, value not in texts, f"not {value}", ", ".join(map(shown, texts)))


def _time(value: Any) -> float | None:
    """Return a NumericDate, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared first: a whole number of hundreds of digits is no float.
    return float(value) if 0 < value <= _LATEST else None


def shown(value: Any) -> str:
    """Return a claim as pages and events show it: short, and "missing" for none."""
    if value is None:
        return "missing"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
