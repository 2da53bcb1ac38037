"""What a source of a migration is: places, the secrets in them, their versions and values."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Self

from sync_app.backends.capabilities import FormField


@dataclass(frozen=True, kw_only=True)
class FoundVersion:
    """A version in the source; `state` is deleted or destroyed if its value is not given any more."""

    number: int
    written_at: datetime | None = None
    author: str = ""
    identifier: str = ""
    state: str = ""
    deleted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A secret in the source with its versions, in the order of their numbers, without values.

    `labels` are what describes it there. `skip` is why it is left out by rule, `fault` why it cannot be read.
    """

    path: str
    versions: Sequence[FoundVersion] = ()
    current: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    max_versions: int = 0
    # Whether the versions have numbers there, which Keeper keeps; else they are counted.
    is_numbered: bool = True
    skip: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Value:
    """A value as text; `fields` is the JSON object that it is in a system whose secrets are objects.

    `text` is None for an object of several fields.
    """

    text: str | None = field(repr=False)
    fields: str = field(default="", repr=False)


class Source(ABC):
    """A system that secrets are carried from; safe to share between threads. Its requests have deadlines."""

    kind: ClassVar[str]
    label: ClassVar[str]
    setting_fields: ClassVar[tuple[FormField, ...]]
    credential_fields: ClassVar[tuple[FormField, ...]]

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
