"""Lets threads that record at the same time commit together.

A commit waits for the disk, and its stream's head stays locked meanwhile: threads that take turns
wait for each other's disk. Here the thread whose turn it is writes what all have waiting for the
stream, in one transaction, and each of them goes on once that is committed.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(Generic[T, R]):
    """What one thread wants written, and what came of it."""

    __slots__ = ("has_turn", "item", "key", "result", "wakened")

    def __init__(self, key: str, item: T) -> None:
        self.key = key
        self.item = item
        # None until it is committed, and for good if the group failed.
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
            # A signal's handler raised: nobody may go on waiting for this thread.
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
