"""The seam between Keeper and another system's server: each request of Keeper passes through here.

Keeper's threads are done without: with one request at a time the same seed does the same again.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest

from sync_app.applying import batch
from sync_app.backends.vault import adapter
from sync_app.jobs import worker_pool
from sync_app.planning import discovery


class Killed(BaseException):
    """The worker died: nothing that it would still have done is done."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request of Keeper's."""

    # What is asked, in the words of the other system's API.
    what: str
    # The secret that it is about; empty for a list, and for what is about none.
    path: str
    changes: bool
    lists: bool
    # Sends it, and returns the answer.
    send: Callable[[], Any]


Interpose = Callable[[Asked], Any]


class Inline:
    """A pool of threads that does everything at once, in the thread that asks."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 - as a pool does; `result` raises it
            done.set_exception(error)
        return done

    def shutdown(self, **_: Any) -> None:
        self._ended = True


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Keeper ask for one thing after the other, in this thread."""
    for module in (worker_pool, adapter):
        monkeypatch.setattr(module, "ThreadPoolExecutor", Inline)
    monkeypatch.setattr(worker_pool.RateLimiter, "wait", lambda _: None)
    # What is not shown is not there: no node lags.
    for module in (batch, discovery):
        monkeypatch.setattr(module, "LOOK_PAUSES", (0.0,))
