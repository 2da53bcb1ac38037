"""Requests that wait for another system while a person or program waits for them: few at once, each bounded.

A web server has a few threads. Those that wait for a system that does not answer are never all of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings

from core.network.limits import limited
from sync_app.errors import TooManyTests

AT_ONCE: Final = 2
# A test is some ten requests, each of which a system that answers takes a fraction of its time for.
_REQUESTS: Final = 2
_places = threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def limit_requests() -> Iterator[None]:
    """Bound all requests of the block together. Raises TooManyTests where this process waits for enough."""
    if not _places.acquire(blocking=False):
        raise TooManyTests(f"{AT_ONCE} connection tests are already running: try again soon")
    try:
        with limited(_REQUESTS * settings.KEEPER_OUTBOUND_SECONDS):
            yield
    finally:
        _places.release()
