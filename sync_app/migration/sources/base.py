"""What a source of a migration is: places, the secrets in them, their versions and values."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, Self

from secrets_app.types.registry import SecretType
from sync_app.backends.capabilities import FormField

COUNTED: Final = -1
# What the column of a version's number holds.
MAX_NUMBER: Final = 2**31 - 1
# What an object of fields, or keys, becomes.
JSON, EACH = "json", "each"
LITERAL: Final = "its references are not resolved here: switch that on at its page"


@dataclass(frozen=True, kw_only=True)
class FoundVersion:
    """A version in the source; `state` is deleted or destroyed if its value is not given any more."""

    number: int
    written_at: datetime | None = None
    author: str = ""
    identifier: str = ""
    # None: the comment of what is carried.
    comment: str | None = None
    state: str = ""
    # When it was deleted, or will be.
    deleted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A secret in the source with its versions, in the order of their numbers, without values.

    `labels` are what describes it there. `skip` is why it is left out by rule, `fault` why it cannot be read,
    and `note` what is other here than there.
    """

    path: str
    versions: Sequence[FoundVersion] = ()
    current: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    max_versions: int = 0
    # Whether the versions have numbers there, which Keeper keeps; else they are counted.
    is_numbered: bool = True
    # Of a system that knows the fields and types of Keeper; else the labels and the value tell.
    described: Mapping[str, Any] | None = None
    secret_type: SecretType | None = None
    # The version that was current before. COUNTED: the one with a value below the current one.
    previous: int | None = COUNTED
    skip: str = ""
    fault: str = ""
    note: str = ""


@dataclass(frozen=True)
class Value:
    """A value as text; `fields` is the JSON object that it is in a system whose secrets are objects.

    `text` is None for an object of several fields.
    """

    text: str | None = field(repr=False)
    fields: str = field(default="", repr=False)
    # The text is the Base64 of what is no text there.
    is_binary: bool = False


class Source(ABC):
    """A system that secrets are carried from; safe to share between threads. Its requests have deadlines."""

    kind: ClassVar[str]
    label: ClassVar[str]
    setting_fields: ClassVar[tuple[FormField, ...]]
    credential_fields: ClassVar[tuple[FormField, ...]]
    # What people call a place, one that serves as example, and what the credentials need, line by line.
    place_word: ClassVar[str] = "mount"
    place_example: ClassVar[str] = "secret"
    needs: ClassVar[str] = ""
    # A source on Keeper's host is for who has a shell there.
    by_command: ClassVar[bool] = False

    def __init__(self, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        self.settings = {
            field.name: settings.get(field.name) or field.default for field in self.setting_fields
        }
        self.credentials = {field.name: credentials.get(field.name, "") for field in self.credential_fields}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def system(cls) -> str:
        """Return what the origin of a version calls it; sources of one system know each other's versions."""
        return cls.kind

    @classmethod
    def has_mounts(cls, settings: Mapping[str, str]) -> bool:  # noqa: ARG003 - a source decides by them
        """Return whether clients ask there by paths that /vault answers (`sync_app.migration.mounts`)."""
        return False

    @classmethod
    @abstractmethod
    def endpoint(cls, settings: Mapping[str, str]) -> str:
        """Return the address that the credentials may be sent to. Raises BadDestination."""

    @abstractmethod
    def places(self) -> Sequence[str]:
        """Return the mounts, projects or accounts that hold secrets. Raises a BackendError."""

    @abstractmethod
    def paths(self, place: str) -> Iterator[str]:
        """Yield the paths of the secrets in a place. Raises a BackendError."""

    @abstractmethod
    def find(self, place: str, path: str) -> Found:
        """Return a secret with its versions. Raises a BackendError."""

    @abstractmethod
    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        """Return the value of a version, None if the source has it no more. Raises a BackendError."""

    def close(self) -> None:  # noqa: B027 - most sources have nothing to end
        """End what was begun with the source."""
