"""A request before Django has it: what the server and its answers in front of Django share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import Histogram

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Start = Callable[[str, Headers], object]
Application = Callable[[Environ, Start], Iterable[bytes]]
Front = Callable[[Environ], "Answer | None"]

BUSY: Final = "Too many requests wait. Try again."

_SECONDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_SECONDS: Final = Histogram(
    "keeper_request_seconds",
    "Time of a request; view is the name of its route.",
    ["view", "method", "status"],
    buckets=_SECONDS,
)


@dataclass
class Answer:
    """What the application answered; `body` is a list of pieces, or takes them from another thread."""

    status: str
    headers: Headers
    body: Iterable[bytes] = ()


class Refused(Exception):
    """A request that the application never gets."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@cache
def times_of(view: str, method: str, status: str) -> Histogram:
    """Return the times of a kind of request: looking labels up takes a lock, and comes with each one."""
    return REQUEST_SECONDS.labels(view, method, status)
