"""How many requests a token makes in a minute; each process counts in its memory, which costs no statement.

A request counts once its token has proved itself: only the bearers of a token can use up its requests.
"""

import logging
from threading import Lock
from typing import Final

from django.conf import settings
from django.utils import timezone
from prometheus_client import Counter

from environments_app.errors import TooManyRequests

LIMITED: Final = Counter(
    "keeper_token_requests_limited", "Requests of tokens that were refused with 429: too many in a minute."
)
_MINUTE: Final = 60
_log = logging.getLogger(__name__)


class _Counts:
    """The requests of the present minute, by token; those of an earlier minute are dropped at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._minute = 0
        self._counts: dict[str, int] = {}

    def add(self, token: str, minute: int) -> int:
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, {}
            count = self._counts[token] = self._counts.get(token, 0) + 1
        return count

    def take_back(self, token: str) -> None:
        with self._lock:
            count = self._counts.pop(token, 0)
            if count > 1:
                self._counts[token] = count - 1

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()


_COUNTS: Final = _Counts()


def count_request(token: str) -> None:
    """Count a request of a token, by its public id.

    Raises TooManyRequests beyond KEEPER_TOKEN_REQUESTS_PER_MINUTE, with the seconds until the minute is over.
    """
    if may_request(token):
        return
    LIMITED.inc()
    raise TooManyRequests(retry_after=_MINUTE - int(timezone.now().timestamp()) % _MINUTE)


def may_request(token: str) -> bool:
    """Count a request of a token, and return whether the limit allows it; 0 is no limit."""
    limit = settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE
    if not limit:
        return True
    count = _COUNTS.add(token, int(timezone.now().timestamp()) // _MINUTE)
    if count == limit + 1:
        _log.warning("the token %s makes more than %s requests a minute", token, limit)
    return count <= limit


def take_back_request(token: str) -> None:
    """Take back a request that `may_request` counted, and that is counted elsewhere if at all."""
    if settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE:
        _COUNTS.take_back(token)


def forget_requests() -> None:
    """Forget what was counted (for tests)."""
    _COUNTS.clear()
