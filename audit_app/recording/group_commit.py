"""Lets threads that record at the same time commit together.

A commit waits for the disk, and its stream's head stays locked in the meantime: threads that take turns
wait for each other's disk. Here the thread whose turn it is writes what all have waiting for the
stream, in one transaction, and each of them continues once that is committed.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeAlias, TypeVar

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


T = TypeVar("T")
R = TypeVar("R")


class _Waiting(Generic[T, R]):
    """What one thread wants written, and what came of it."""

    __slots__ = ("has_turn", "item", "key", "result", "wakened")

    def __init__(self, key: str, item: T) -> None:
        self.key = key
        self.item = item
        # None until it is committed; stays None if the group failed.
        self.result: R | None = None
        self.has_turn = False
        # Held until another thread wakens this one.
        self.wakened = threading.Lock()
        self.wakened.acquire()


class GroupCommit(Generic[T, R]):
    """Writes the items of several threads together, those of one key at a time.

    `together` commits a group and returns a result for each item in order, or none at all if it
    does not care for them; `alone` commits one item. What either raises has written nothing; where
    a group of several fails with one of `errors`, each thread writes its own item alone.
    """

    def __init__(
        self,
        *,
        together: Callable[[Sequence[T]], Sequence[R]],
        alone: Callable[[T], R],
        errors: tuple[type[Exception], ...],
        largest: int,
    ) -> None:
        self._together = together
        self._alone = alone
        self._errors: Final = errors
        self._largest: Final = largest
        self._forget()
        # A child process has none of the threads that its parent's queue waits for.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._guard = threading.Lock()
        self._queue: list[_Waiting[T, R]] = []
        self._is_busy = False

    def commit(self, key: str, item: T) -> R:
        """Return an item's result once it is committed; raises what its writing raises."""
        own: _Waiting[T, R] = _Waiting(key, item)
        self._wait(own)
        if own.has_turn:
            self._write(own)
        return self._alone(item) if own.result is None else own.result

    def _wait(self, own: _Waiting[T, R]) -> None:
        """Return when it is this thread's turn, or another has done with its item."""
        with self._guard:
            self._queue.append(own)
            own.has_turn, self._is_busy = not self._is_busy, True
        if own.has_turn:
            return
        try:
            own.wakened.acquire()
        except BaseException:
            # A signal's handler raised: no thread may wait for this one any longer.
            self._leave(own)
            raise

    def _leave(self, own: _Waiting[T, R]) -> None:
        with self._guard:
            if own in self._queue:
                self._queue.remove(own)
            if own.has_turn:
                self._pass_turn()

    def _write(self, own: _Waiting[T, R]) -> None:
        with self._guard:
            group = [each for each in self._queue if each.key == own.key][: self._largest]
        try:
            with suppress(*(self._errors if len(group) > 1 else ())):
                results = self._together([each.item for each in group])
                for each, result in zip(group, results, strict=False):
                    each.result = result
        finally:
            with self._guard:
                self._queue = [each for each in self._queue if each not in group]
                self._pass_turn()
            for each in group:
                each.wakened.release()

    def _pass_turn(self) -> None:
        self._is_busy = bool(self._queue)
        if self._queue:
            self._queue[0].has_turn = True
            self._queue[0].wakened.release()
