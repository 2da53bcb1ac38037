"""The base of backends whose writes are known by the time that a look shows: no labels, nothing compared."""

import functools
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.backends.rest import RestAnswer, RestClient, VariableBackend
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BackendError, ChangedSinceRead, OutcomeUnknown, TargetBusy, TargetUnreachable

# Seconds by which the clocks of one system's machines may differ.
_CLOCKS_DIFFER: Final = 2
_WINDOW: Final = re.compile(r"(-?\d+)-(-?\d+)")
_UNKNOWN: Final = "the target took the write, and does not show it yet: it is looked at again"
CHANGED: Final = "it changed in the target after it was read: refresh the plan"
LATER: Final = "another client wrote it just after Keeper: refresh the plan"


@dataclass(frozen=True, kw_only=True)
class Window:
    """The seconds since 1970, by the system's clock, within which a write took place."""

    since: int
    until: int

    def __str__(self) -> str:
        return f"{self.since}-{self.until}"

    @classmethod
    def parse(cls, text: str) -> "Window | None":
        """Return the window of a text that `str` made; None for another text."""
        found = _WINDOW.fullmatch(text)
        return cls(since=int(found[1]), until=int(found[2])) if found else None

    def covers(self, version: str) -> bool:
        return bool(version) and self.since <= version_seconds(version) <= self.until

    def is_after(self, version: str) -> bool:
        return not version or version_seconds(version) < self.since


def version_seconds(version: str) -> int:
    """Return the time of the last write that a version begins with, in seconds since 1970."""
    return int(datetime.fromisoformat(version.partition(" ")[0]).astimezone(UTC).timestamp())


class TimedBackend(VariableBackend):
    """Variables of which a look shows a time: that of the last write, or at least of the creation."""

    _client: RestClient

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._lock = threading.Lock()

    @property
    def busy_seconds(self) -> float:
        return self._client.busy_seconds

    def close(self) -> None:
        self._client.close()

    def predict_version(self, version: str, *, token: str) -> str:
        """Return nothing: the time of a write is the system's."""
        return ""

    @classmethod
    def is_write_of(cls, seen: SecretMetadata, intended: str) -> bool:
        """Return whether a version is of the time in which a write of unknown outcome took place."""
        window = Window.parse(intended)
        return seen.version == intended if window is None else window.covers(seen.version)

    @classmethod
    def is_older(cls, seen: SecretMetadata, intended: str) -> bool:
        """Return whether a look is of a time before the write, or shows nothing."""
        window = Window.parse(intended)
        return seen.presence is not Presence.PRESENT or (window is not None and window.is_after(seen.version))

    @classmethod
    def is_behind(cls, seen: SecretMetadata, synced: str) -> bool:
        """Return whether a look shows an earlier time than that of the last synced write."""
        if window := Window.parse(synced):
            return window.is_after(seen.version)
        return bool(seen.version and synced) and version_seconds(seen.version) < version_seconds(synced)

    def delete(self, seen: SecretMetadata) -> None:
        """Delete it if it is as it was seen. Nothing of it is kept there."""
        self._require_unchanged(seen)
        self._send("DELETE", self._path(seen.name), of=seen.name)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        """Do nothing: there are no labels, and Keeper's entry is its mark."""

    def unmark(self, seen: SecretMetadata) -> None:
        """Do nothing, as `mark`."""

    # --- How ----------------------------------------------------------------------------------

    @abstractmethod
    def _path(self, name: str) -> str:
        """Return the path of an item. Raises NameUnusable."""

    @abstractmethod
    def _look(self, name: str) -> tuple[SecretMetadata | None, int]:
        """Return an item, None if it is not there, and the server's time of the look."""

    def _find(self, name: str) -> SecretMetadata | None:
        return self._look(name)[0]

    def _send(
        self, method: str, path: str, *, of: str = "", body: Mapping[str, Any] | None = None
    ) -> RestAnswer:
        """Send a write; raises as `_change` does, and TargetBusy where a limit has no room for it."""
        self._client.require_room()
        return self._change(functools.partial(self._client.request, method, path, body=body), of=of)

    def _write_and_look(
        self, name: str, send: Callable[[], RestAnswer], *, before: SecretMetadata | None, at: int
    ) -> tuple[SecretMetadata, RestAnswer | None]:
        """Send a write and return the item that it made, and the answer; None for one that was lost.

        `before` is the item of the look just before, `at` the server's time of that look: a write of this
        time is this one. Raises OutcomeUnknown if a write was answered and the look after it does not show
        it, the error of a write that was not answered if the look does not show it either, and
        ChangedSinceRead if another client's came after it.
        """
        answer, lost = None, None
        try:
            answer = send()
        except (TargetUnreachable, TargetBusy) as error:
            if isinstance(error, TargetBusy) and error.retry_after:
                raise
            lost = error
        until = (answer.at if answer else 0) or self._client.server_now
        window = Window(since=at - _CLOCKS_DIFFER, until=until + _CLOCKS_DIFFER)
        if lost is not None:
            lost.made = str(window)
        try:
            made, _ = self._look(name)
        except BackendError as error:
            asked = getattr(error, "retry_after", 0.0)
            raise lost or OutcomeUnknown(_UNKNOWN, made=str(window), retry_after=asked) from error
        if made is None or window.is_after(made.version) or (lost is not None and made == before):
            raise lost or OutcomeUnknown(_UNKNOWN, made=str(window))
        if not window.covers(made.version):
            raise ChangedSinceRead(LATER)
        return made, answer

    def _require_unchanged(self, seen: SecretMetadata) -> tuple[SecretMetadata, int]:
        """Return an item and the server's time of the look. Raises ChangedSinceRead unless it is as seen."""
        now, at = self._look(seen.name)
        if now is None or (now.remote_id, now.version) != (seen.remote_id, seen.version):
            raise ChangedSinceRead(CHANGED)
        return now, at
