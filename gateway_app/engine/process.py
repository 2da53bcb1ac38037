"""The process of the read engine: it serves the reads that wait in all web processes together, in batches.

A batch takes one query for the tokens, one for the secrets, and one transaction for all events (`reads`).
The process holds no value and no data key: who sent the request opens what it was granted. A batch is
served whatever one request, the connection or another writer does to it.
"""

import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

from django.db import Error, InterfaceError, OperationalError, connection, connections

from audit_app.interfaces import keyring
from core.db.concurrency import is_collision
from core.errors import KeeperError
from gateway_app.engine import messages
from gateway_app.engine.reads import Request, Serve, Served, serve
from secrets_app.metrics import READ_BATCH
from secrets_app.queries import last_asked

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


# A batch that takes longer ends the process; another one is started then. One that waits for a lock of the
# database gives up before that.
STUCK_SECONDS: Final = 30.0
# Well before reads would be left to the general path (`Keyring.is_at_hand`).
_LOOK_SECONDS: Final = 20.0
_WATCH_SECONDS: Final = 1.0
# After a batch that took longer, some of those who wait may have gone.
_LATE_SECONDS: Final = 1.0
# What web processes may take to end, which are asked to stop at the same moment.
_DRAIN_SECONDS: Final = 20.0
# More than the longest message: what is sent never waits for who reads it.
SOCKET_BYTES: Final = 1024 * 1024
_MAX_REQUEST_BYTES: Final = SOCKET_BYTES


class EngineServer:
    """Serves what comes by the sockets that web processes send to `door`, until it is stopped."""

    def __init__(self, door: socket.socket, batches: Batches | None = None) -> None:
        self.batches = batches or Batches()
        self._door = door
        self._door.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(door, selectors.EVENT_READ)
        self._stopping, self._stop_writer = socket.socketpair()
        self._selector.register(self._stopping, selectors.EVENT_READ)
        self._peers: set[Connection] = set()
        self._ends_at: float | None = None
        self._is_late = False

    def stop(self) -> None:
        """Ask it to end once no connection is left, or after a while. A handler of signals may call this."""
        self._stop_writer.send(b"\0")

    def run(self) -> None:
        try:
            while not self._is_over():
                wait = None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())
                self._serve([key.fileobj for key, _ in self._selector.select(wait)])
        finally:
            for peer in self._peers:
                peer.close()
            self._stopping.close()
            self._stop_writer.close()
            self._selector.close()

    def _is_over(self) -> bool:
        return self._ends_at is not None and (not self._peers or time.monotonic() >= self._ends_at)

    def _serve(self, ready: list[object]) -> None:
        asked: list[tuple[Connection, Request]] = []
        for source in ready:
            if source is self._door:
                self._adopt()
            elif source is self._stopping:
                self._selector.unregister(self._stopping)
                self._ends_at = time.monotonic() + _DRAIN_SECONDS
            elif isinstance(source, Connection) and (request := self._request(source)):
                asked.append((source, request))
        for start in range(0, len(asked), MAX_BATCH):
            self._answer(asked[start : start + MAX_BATCH])

    def _adopt(self) -> None:
        """Take the connections that wait at the door, and greet who sent them."""
        with suppress(BlockingIOError):
            while True:
                _, descriptors, *_ = socket.recv_fds(self._door, 1, 1)
                if not descriptors:
                    # This process may open no more: the sender finds its end closed.
                    continue
                os.set_blocking(descriptors[0], False)
                peer = Connection(descriptors[0])
                self._peers.add(peer)
                self._selector.register(peer, selectors.EVENT_READ)
                try:
                    os.write(descriptors[0], b"\0")
                except OSError:
                    self._drop(peer)

    def _request(self, peer: Connection) -> Request | None:
        """Return what a web process asks; None if it is gone, or broke off in the middle."""
        try:
            request = messages.request_of(peer.recv_bytes(_MAX_REQUEST_BYTES))
            # Whoever has gone since is neither served nor recorded.
            if self._is_late and peer.poll():
                raise EOFError
        except (OSError, *messages.BROKEN):
            self._drop(peer)
            return None
        return request

    def _answer(self, asked: list[tuple[Connection, Request]]) -> None:
        began = time.monotonic()
        served = self.batches.served([request for _, request in asked])
        self._is_late = time.monotonic() - began > _LATE_SECONDS
        for (peer, _), read in zip(asked, served, strict=True):
            try:
                peer.send_bytes(messages.answer_text(read))
            except OSError:
                self._drop(peer)

    def _drop(self, peer: Connection) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._selector.unregister(peer)
            peer.close()


def serve_reads(door: socket.socket, *, ready: Callable[[], object]) -> None:
    """Serve reads in this process until a signal asks to stop; `ready` is called once they are served."""
    server = EngineServer(door)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    threading.Thread(target=_keep_keys, name="keys", daemon=True).start()
    threading.Thread(target=_watch, args=(server.batches,), name="watchdog", daemon=True).start()
    ready()
    server.run()
    connections.close_all()


def _watch(batches: Batches) -> None:
    """End a process whose batch is stuck. This thread waits for no database and no KMS."""
    while True:
        time.sleep(_WATCH_SECONDS)
        if batches.stuck_seconds() > STUCK_SECONDS:
            logger.error("the read engine is stuck: it ends, and another one is started")
            os._exit(1)


def _keep_keys() -> None:
    """Look in time whether system keys were replaced, which may ask KMS; store who asked meanwhile."""
    try:
        while True:
            _look()
            time.sleep(_LOOK_SECONDS)
    except BaseException as error:  # noqa: BLE001 - it ends the process
        # Without this thread all reads would take the general path until a restart.
        logger.error("the read engine cannot look after its keys and ends: %s", type(error).__name__)  # noqa: TRY400
        os._exit(1)


def _look() -> None:
    try:
        keys = keyring()
        keys.open_all()
        keys.refresh()
        last_asked.store()
    except (KeeperError, Error) as error:
        # What is open is as good as it was.
        logger.warning("cannot look whether system keys were replaced: %s", type(error).__name__)
    finally:
        connections.close_all()
