"""The rules for what a secret may be called: names, name prefixes and tags (design §4)."""

import re
from collections.abc import Sequence

from secrets_app.errors import InvalidName, InvalidTag

MAX_NAME_LENGTH = 512
MAX_TAGS = 50
_SEGMENT = re.compile(r"[A-Za-z0-9_.+=@-]+")
# All segments at once, none of them only dots: what is no such path is looked at piece by piece.
_PATH = re.compile(r"(?:(?!\.\.?(?:/|\Z))[A-Za-z0-9_.+=@-]+(?:/(?!\Z)|\Z))+")
# The same for others, such as clients of the API, whose expressions know no \Z.
NAME_PATTERN = r"^(?!\.{1,2}(/|$))[A-Za-z0-9_.+=@-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9_.+=@-]+)*$"
TAG_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,62}$"
_TAG = re.compile(r"[a-z0-9][a-z0-9_.:/-]{0,62}")


def validate_secret_name(name: object) -> str:
    """Return `name` unchanged if it is a path of segments joined by `/`.

    Raises InvalidName, with what is wrong and what to do, if it is not.
    """
    return _validate_path(name, field="name", noun="name")


def validate_prefix(prefix: object) -> str:
    """Return `prefix` unchanged if it is empty (everything) or a path of whole segments.

    A prefix covers the secret of exactly that name and all below it, so it takes no `/` at its end.

    Raises InvalidName, with what is wrong and what to do, if it is neither.
    """
    if prefix == "":
        return ""
    return _validate_path(prefix, field="prefix", noun="prefix")


def validate_tags(tags: object) -> list[str]:
    """Return `tags` (strings) in lower case, each once, sorted.

    Raises InvalidTag if it is not a list of strings, a tag breaks the rules, or there are more than 50.
    """
    if not isinstance(tags, Sequence) or isinstance(tags, (str, bytes)):
        raise InvalidTag("tags", "Give a list of tags.")
    unique = {_normalised_tag(tag, position) for position, tag in enumerate(tags, start=1)}
    if len(unique) > MAX_TAGS:
        raise InvalidTag("tags", f"Use up to {MAX_TAGS} tags.")
    return sorted(unique)


def _validate_path(name: object, *, field: str, noun: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(field, f"The {noun} must be text.")
    if len(name) <= MAX_NAME_LENGTH and _PATH.fullmatch(name):
        return name
    if not name:
        raise InvalidName(field, f"Enter a {noun}.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidName(field, f"The {noun} is too long (max {MAX_NAME_LENGTH} characters).")
    if name != name.strip():
        raise InvalidName(field, f"The {noun} can't start or end with a space.")
    if name.startswith("/") or name.endswith("/"):
        raise InvalidName(field, f"The {noun} can't start or end with a slash.")
    for segment in name.split("/"):
        _validate_segment(segment, field=field, noun=noun)
    return name


def _validate_segment(segment: str, *, field: str, noun: str) -> None:
    if not segment:
        raise InvalidName(field, f"The {noun} can't contain two slashes in a row.")
    if segment in {".", ".."}:
        raise InvalidName(field, f"The {noun} can't contain a part made of dots only.")
    if _SEGMENT.fullmatch(segment) is None:
        raise InvalidName(field, "Use only A-Z, a-z, 0-9 and _ . + = @ -, with / between parts.")


def _normalised_tag(tag: object, position: int) -> str:
    if not isinstance(tag, str):
        raise InvalidTag("tags", f"Tag {position}: use text.")
    # Outside ASCII, lower() maps look-alikes (the Kelvin sign) to plain letters; those are refused instead.
    if not tag.isascii() or _TAG.fullmatch(tag.lower()) is None:
        raise InvalidTag(
            "tags",
            f"Tag {position}: use up to 63 letters, numbers and _ . : / -, starting with a letter or number.",
        )
    return tag.lower()
