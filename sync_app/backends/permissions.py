"""The permissions that credentials need in a target, and whether they have them, as far as can be tested."""

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """What a permission is needed for."""

    # Looking, which every target does.
    READ = "read"
    # Pushing and adopting.
    WRITE = "write"
    # Deleting what Keeper no longer has, and bringing it back.
    DELETE = "delete"
    # Fewer requests.
    SPEED = "speed"


class Grant(StrEnum):
    """Whether credentials have a permission."""

    GRANTED = "granted"
    MISSING = "missing"
    # It cannot be asked for without changing something.
    UNPROVEN = "unproven"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """A permission, in the words of the system that grants it."""

    name: str
    need: Need
    grant: Grant
    note: str = ""
