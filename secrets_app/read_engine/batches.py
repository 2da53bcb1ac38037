"""Serves batches of reads whatever one request, the connection or another writer does to them."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from django.db import InterfaceError, OperationalError, connection

from core.db.concurrency import is_collision
from secrets_app.metrics import READ_BATCH
from secrets_app.read_engine.recorded_read import Request, Serve, Served, serve

MAX_BATCH: Final = 100
# How often the connection is looked at.
_CHECK_SECONDS: Final = 10.0
# After a failure that took longer a batch is not tried again.
_RETRY_SECONDS: Final = 2.0
logger = logging.getLogger(__name__)


class Batches:
    """Serves reads by the connection of its thread; `serve` answers a batch, `clock` is monotonic."""

    def __init__(self, serve: Serve = serve, clock: Callable[[], float] = time.monotonic) -> None:
        self._serve, self._clock = serve, clock
        self._checked_at = clock()
        # Since when the batch at hand is worked on; read by the thread that watches.
        self.busy_since: float | None = None

    def served(self, requests: Sequence[Request]) -> list[Served]:
        """Serve a batch; after an error each request alone, and what still fails on the general path."""
        self.busy_since = self._clock()
        try:
            if self._clock() - self._checked_at > _CHECK_SECONDS:
                self._checked_at = self._clock()
                connection.close_if_unusable_or_obsolete()
            READ_BATCH.observe(len(requests))
            return self._reads(requests)
        finally:
            self.busy_since = None

    def stuck_seconds(self) -> float:
        """Return for how long the batch at hand has been worked on, 0 if there is none."""
        since = self.busy_since
        return 0.0 if since is None else self._clock() - since

    def _reads(self, requests: Sequence[Request]) -> list[Served]:
        try:
            return self._persistently(requests)
        except (OperationalError, InterfaceError) as error:
            logger.warning(
                "the read engine has no database: %s", type(error).__name__, extra={"cause": error}
            )
            return [None] * len(requests)
        except Exception as error:  # noqa: BLE001 - one request must not spoil the batch; the general path judges it
            return self._singly(requests, error)

    def _singly(self, requests: Sequence[Request], error: Exception) -> list[Served]:
        if len(requests) > 1:
            return [read for request in requests for read in self._reads([request])]
        # Its message may hold what the row holds.
        logger.error("the read engine left a read to the general path: %s", type(error).__name__)
        return [None]

    def _persistently(self, requests: Sequence[Request]) -> list[Served]:
        """Serve a batch, once more after a lost connection or a collision with other writers."""
        began = self._clock()
        try:
            return self._serve(requests)
        except OperationalError as error:
            is_slow = self._clock() - began > _RETRY_SECONDS
            if is_slow or not (is_collision(error) or self._has_lost_connection()):
                raise
        return self._serve(requests)

    def _has_lost_connection(self) -> bool:
        """Return whether the server ended the connection; the next statement opens another."""
        connection.close_if_unusable_or_obsolete()
        return connection.connection is None
