"""What a system says of a secret: its metadata, its value, our mark on it, and the names of its versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from sync_app.backends.answers import require_plain_id
from sync_app.domain.reconciliation import Presence

# Between what is known of a version before it is made, and the rest of its name.
VERSION_SEPARATOR: Final = "@"
MARK_KEYS: Final = ("keeper-deployment", "keeper-target", "keeper-secret")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Who a secret in the target belongs to, as it is written on the secret itself."""

    deployment: UUID
    target: UUID
    secret: UUID

    def labels(self) -> dict[str, str]:
        """Return the mark as tags or custom metadata."""
        return dict(zip(MARK_KEYS, map(str, (self.deployment, self.target, self.secret)), strict=True))


def parse_mark(labels: Mapping[str, str]) -> Mark | None:
    """Return the mark among labels; None without one, or for one that Keeper did not write."""
    try:
        deployment, target, secret = (labels[key] for key in MARK_KEYS)
        return Mark(deployment=_cached_uuid(deployment), target=_cached_uuid(target), secret=UUID(secret))
    except (KeyError, ValueError):
        return None


@lru_cache(maxsize=64)
def _cached_uuid(text: str) -> UUID:
    """Return a UUID that many secrets of a list have in their marks."""
    return UUID(text)


@dataclass(frozen=True, kw_only=True)
class SecretMetadata:
    """A secret of the target without its value.

    `remote_id` distinguishes it from another one of the same name (AWS: the ARN; Vault: path and time of
    creation), `version` from the same one with another value.
    """

    name: str
    presence: Presence
    remote_id: str = ""
    version: str = ""
    mark: Mark | None = None
    # The version before, as far as the system shows one.
    previous_version: str = field(default="", compare=False)
    # Whether it is deleted because its time was up.
    expired: bool = field(default=False, compare=False)
    # How many versions the system keeps of this secret, if that was set for it.
    max_versions: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        """Refuse, with ValueError, what another system gave for a name or an id and is none."""
        if "\0" in self.name or self.name != str(self.name):
            raise ValueError("no name")
        for text in (self.remote_id, self.version, self.previous_version):
            require_plain_id(text)


def version_matches(version: str, name: str) -> bool:
    """Return whether a version is the one of this name, in full or as `predict_version` names it."""
    return bool(name) and (version == name or version.startswith(f"{name}{VERSION_SEPARATOR}"))


@dataclass(frozen=True, kw_only=True)
class SecretValue:
    """A secret's value together with what was seen in the same read."""

    metadata: SecretMetadata
    value: str = field(repr=False)
    # What `revert_unconfirmed_write` needs to write back exactly this, where the value is not enough.
    raw: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """The metadata of one secret from a bulk read, and the time of that read."""

    metadata: SecretMetadata
    observed_at: float


def format_version(number: int, created: str) -> str:
    """Return how Keeper names a version: a number alone is used again after a snapshot was restored."""
    return f"{number}{VERSION_SEPARATOR}{created}"


def version_number(version: str) -> int:
    """Return the number of a version, also of one that an earlier Keeper named by that alone; 0 for none."""
    number = version.partition(VERSION_SEPARATOR)[0]
    return int(number) if number.isdecimal() else 0


def precedes(version: str, other: str) -> bool:
    """Return whether a version has a lower number than another and an earlier time, as both name them."""
    return 0 < version_number(version) < version_number(other) and 0 < _made_at(version) < _made_at(other)


def _made_at(version: str) -> float:
    time = version.partition(VERSION_SEPARATOR)[2]
    try:
        return float(time or 0)
    except ValueError:
        return datetime.fromisoformat(time).timestamp()


def version_time(version: str) -> float:
    """Return the time of a version whose name holds it in seconds; 0 for none."""
    return float(version.partition(VERSION_SEPARATOR)[2] or 0)
