"""What a trust demands of a claim: an exact value, or a pattern with a few bounded `*`. No Django."""

import re
from collections.abc import Mapping
from typing import Any, Final

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
    wanted, given = _DELIMITERS.split(pattern), _DELIMITERS.split(value)
    return len(wanted) == len(given) and all(map(_fits, wanted, given))


def claim_texts(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the values of a claim as texts: one, several for a list, none if it is missing or an object."""
    value = _pointed(claims, name) if name.startswith("/") else claims.get(name)
    found = value if isinstance(value, list) else [value]
    return [text for text in map(_text, found) if text is not None and len(text) <= MAX_VALUE]


def _fits(pattern: str, value: str) -> bool:
    first, *others = pattern.split(STAR)
    if not others:
        return pattern == value
    *inner, last = others
    if not value.startswith(first) or not value.endswith(last) or len(value) < len(first) + len(last):
        return False
    place, end = len(first), len(value) - len(last)
    for piece in inner:
        found = value.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
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
