"""Remembers where this process left the heads of streams, so that it need not ask before it goes on.

What is remembered is never trusted: an event is stored only where the head still stands there.
"""

import time
from collections.abc import Callable
from typing import Final, TypeAlias

Head: TypeAlias = tuple[int, bytes]

# Where several processes write one stream, asking first costs less than being wrong.
_ASKS_FIRST_SECONDS: Final = 10.0


class KeptHeads:
    """The (sequence, hash) of each stream after this process's last commit; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heads: dict[str, Head] = {}
        self._shared_until: dict[str, float] = {}

    def get(self, stream: str) -> Head | None:
        """Return where a stream's head was left, None if that is unknown or others were seen to move it."""
        if self._shared_until.get(stream, 0.0) > self._clock():
            return None
        return self._heads.get(stream)

    def left(self, stream: str, head: Head) -> None:
        """Remember the head after a commit."""
        self._heads[stream] = head

    def moved_by_others(self, stream: str) -> None:
        """Note that a head stood elsewhere."""
        self._heads.pop(stream, None)
        self._shared_until[stream] = self._clock() + _ASKS_FIRST_SECONDS

    def forget(self) -> None:
        """Know nothing of any stream (for tests)."""
        self._heads.clear()
        self._shared_until.clear()


HEADS: Final = KeptHeads()
