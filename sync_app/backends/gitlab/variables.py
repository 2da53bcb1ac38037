"""What a CI/CD variable of GitLab is: its value, whether logs mask it, and our mark in its description."""

import hmac
import re
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from secrets_app.types.registry import SecretType
from sync_app.backends.observations import VERSION_SEPARATOR, Mark, SecretMetadata
from sync_app.domain.reconciliation import Presence
from sync_app.errors import RequestRefused

# "Project-level CI/CD variables API": of `value` in characters, of `description`, of `key`.
LARGEST: Final = 10_000
MAX_DESCRIPTION: Final = 255
MAX_NAME_LENGTH: Final = 255
WRITE_DIGITS: Final = 24
_DIGEST_DIGITS: Final = 32
# "Mask a CI/CD variable": for one without expansion.
_SHORTEST_MASKED: Final = 8
# Types whose values are always of several lines, or have white space.
_SEVERAL_LINES: Final = frozenset({SecretType.SSH_KEY, SecretType.CERTIFICATE})
UNMASKABLE: Final = (
    "GitLab masks values of one line with 8 characters or more and no white space: change the value, "
    "or the target's rule"
)
_HEX: Final = "([0-9a-f]{32})"
_OURS: Final = re.compile(rf" ?\[keeper {_HEX} {_HEX} {_HEX} ?([0-9a-f]{{0,{WRITE_DIGITS}}})\]")


class Masking(StrEnum):
    """Whether job logs hide the values."""

    POSSIBLE = "possible"
    ALWAYS = "always"
    NEVER = "never"


def can_mask(value: str) -> bool:
    """Return whether GitLab masks a value: one line of eight characters or more, without white space."""
    return len(value) >= _SHORTEST_MASKED and not re.search(r"\s", value)


def explain_unmaskable(size: int, secret_type: str) -> str:
    """Return why GitLab can mask no value of so many bytes and of this type; empty if it may be able to."""
    if size < _SHORTEST_MASKED or secret_type in _SEVERAL_LINES:
        return UNMASKABLE
    return ""


def is_masked(value: str, rule: Masking) -> bool:
    """Return whether the rule masks a value. Raises RequestRefused if it has to be, and cannot."""
    if rule is Masking.ALWAYS and not can_mask(value):
        raise RequestRefused(UNMASKABLE)
    return rule is not Masking.NEVER and can_mask(value)


def parse_mark(description: str | None) -> tuple[Mark | None, str]:
    """Return our mark in a description, and which of our writes made the value; empty for none."""
    found = _OURS.search(description or "")
    if not found:
        return None, ""
    deployment, target, secret = (UUID(hex=found[number]) for number in (1, 2, 3))
    return Mark(deployment=deployment, target=target, secret=secret), found[4]


def describe(description: str | None, mark: Mark | None, write: str = "") -> str:
    """Return a description with our mark and without an earlier one; the rest stays.

    Raises RequestRefused if there is no room for it.
    """
    rest = _OURS.sub("", description or "")
    if mark is None:
        return rest
    ours = f"{mark.deployment.hex} {mark.target.hex} {mark.secret.hex} {write}".rstrip()
    made = f"{rest} [keeper {ours}]".lstrip()
    if len(made) > MAX_DESCRIPTION:
        raise RequestRefused("the variable's description has no room for Keeper's mark: shorten it in GitLab")
    return made


def parse_metadata(name: str, found: Mapping[str, Any], *, place: str, key: bytes) -> SecretMetadata:
    """Parse a variable. The version is a keyed digest of its value, behind the name of our last write.

    GitLab has no versions and no times; without the key a digest reveals nothing of a value.
    """
    mark, write = parse_mark(found.get("description"))
    value = found["value"]
    digest = "hidden" if value is None else hmac.digest(key, value.encode(), sha256).hex()[:_DIGEST_DIGITS]
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=f"{place}/{found['key']}",
        version=f"{write}{VERSION_SEPARATOR}{digest}",
        mark=mark,
    )
