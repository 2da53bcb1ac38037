"""Systems to sync with, each with a backend of Keeper and another client beside it."""

import re
from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar
from uuid import uuid4

from core.network.outbound import Reply
from sync_app.backends.base import Backend


class World(ABC):
    """A target with a prefix of its own; the other client's paths are those of the target."""

    kind: ClassVar[str]
    # The fixture that makes one, and what the other client raises where nothing is at a path.
    fixture: ClassVar[str]
    absent: ClassVar[type[Exception]]
    # How many bytes a value may have, and whether a deletion can be taken back.
    largest: ClassVar[int] = 65_536
    deletes_recoverably: ClassVar[bool] = True
    # Whether a write compares what is there. If not, another writer's last value can go in the milliseconds
    # between a look and a write: no adversary plays, and the folder's own tests hold what is promised instead.
    compares: ClassVar[bool] = True
    # The folders of its addresses in which secrets lie; AWS names its operations instead.
    item_folders: ClassVar[tuple[str, ...]] = ("secrets", "variables")
    # Whether a later write of another client shows, and what of a value the system does not keep as it is.
    shows_writes: ClassVar[bool] = True
    alters: ClassVar[str] = ""
    # Whether the faults of `sync_app/tests/faults` are played, and the documents promise that a read shows
    # each write before it.
    plays_faults: ClassVar[bool] = True
    shows_each_write: ClassVar[bool] = False
    # Whether names keep their folders, secrets carry our mark, and values are shown.
    has_folders: ClassVar[bool] = True
    keeps_marks: ClassVar[bool] = True
    reads_values: ClassVar[bool] = True
    destination: dict[str, str]
    credentials: dict[str, str]

    def __init__(self) -> None:
        self.prefix = f"team-{uuid4().hex[:12]}"

    @abstractmethod
    def backend(self, **changes: str) -> Backend:
        """Return Keeper's side, with some fields of destination or credentials changed."""

    @abstractmethod
    def write(self, path: str, value: str) -> None:
        """Write as another client does, creating what is not there."""

    def overwrite(self, path: str, value: str) -> None:
        """Write as another client does, such that it shows: where no write does, another secret of the name does."""
        if not self.shows_writes and self.labels_or_none(path) is not None:
            self.remove(path)
        self.write(path, value)

    @abstractmethod
    def value(self, path: str) -> str:
        """Read as an application does."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Delete recoverably, as another client does."""

    @abstractmethod
    def label(self, path: str, key: str, text: str) -> None:
        """Add somebody else's tag."""

    @abstractmethod
    def labels(self, path: str) -> dict[str, str]:
        """Return all tags."""

    def wait(self, seconds: int) -> None:  # noqa: B027 - optional
        """Let time pass in a system that has a clock of its own."""

    def limited(self, random: Random) -> Reply:
        """Return how the system limits requests, in one of the ways of its documents."""
        return Reply(
            429, {"Retry-After": "1"}, b'{"kind": "Status", "reason": "TooManyRequests", "message": "slow"}'
        )

    def refused(self, random: Random) -> Reply:
        """Return how the system answers a write that the credentials may not make."""
        return Reply(random.choice([403, 404]), {}, b'{"message": "Not Found"}')

    def failed(self) -> Reply:
        """Return how the system, or a proxy before it, fails."""
        return Reply(502, {}, b"<html>Bad Gateway</html>")

    def listed(self, name: str) -> str:
        """Return the name under which a list shows a secret of Keeper's."""
        return name if self.has_folders else re.sub("[/.-]", "_", name).lower()

    def labels_or_none(self, path: str) -> dict[str, str] | None:
        """Return all tags, or None if nothing is there."""
        try:
            return self.labels(path)
        except self.absent:
            return None


def variable(path: str) -> str:
    """Return the variable that a path becomes."""
    return path.upper().replace("/", "_").replace("-", "_").replace(".", "_")
