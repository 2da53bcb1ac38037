"""The process of the read engine: it serves the reads that wait in all web processes together.

A batch takes one query for the tokens, one for the secrets, and one transaction for all events
(`recorded_read`). The process holds no value and no data key: who asked opens what it was granted.
"""

import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from django.db import Error, connections

from audit_app.interfaces.keyring import keyring
from core.errors import KeeperError
from secrets_app.read_engine import messages
from secrets_app.read_engine.batches import MAX_BATCH, Batches
from secrets_app.read_engine.recorded_read import Request

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
logger = logging.getLogger(__name__)


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
        self._channels: set[socket.socket] = set()
        self._ends_at: float | None = None
        self._is_late = False

    def stop(self) -> None:
        """Ask it to end once no channel is left, or after a while. A handler of signals may call this."""
        self._stop_writer.send(b"\0")

    def run(self) -> None:
        try:
            while not self._is_over():
                wait = None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())
                self._serve([key.fileobj for key, _ in self._selector.select(wait)])
        finally:
            for channel in self._channels:
                channel.close()
            self._stopping.close()
            self._stop_writer.close()
            self._selector.close()

    def _is_over(self) -> bool:
        return self._ends_at is not None and (not self._channels or time.monotonic() >= self._ends_at)

    def _serve(self, ready: list[object]) -> None:
        asked: list[tuple[socket.socket, Request]] = []
        for source in ready:
            if source is self._door:
                self._adopt()
            elif source is self._stopping:
                self._selector.unregister(self._stopping)
                self._ends_at = time.monotonic() + _DRAIN_SECONDS
            elif isinstance(source, socket.socket) and (request := self._request(source)):
                asked.append((source, request))
        for start in range(0, len(asked), MAX_BATCH):
            self._answer(asked[start : start + MAX_BATCH])

    def _adopt(self) -> None:
        """Take the channels that wait at the door, and greet who sent them."""
        with suppress(BlockingIOError):
            while True:
                _, descriptors, *_ = socket.recv_fds(self._door, 1, 1)
                if not descriptors:
                    # This process may open no more: the sender finds its channel closed.
                    continue
                channel = socket.socket(fileno=descriptors[0])
                channel.setblocking(False)
                self._channels.add(channel)
                self._selector.register(channel, selectors.EVENT_READ)
                self._send(channel, b"\0")

    def _request(self, channel: socket.socket) -> Request | None:
        """Return what a channel asks; None if its process is gone, or broke off in the middle."""
        try:
            request = messages.request_of(messages.received(channel))
            if self._is_late and _is_closed(channel):
                raise EOFError
        except (OSError, *messages.BROKEN):
            self._drop(channel)
            return None
        return request

    def _answer(self, asked: list[tuple[socket.socket, Request]]) -> None:
        began = time.monotonic()
        served = self.batches.served([request for _, request in asked])
        self._is_late = time.monotonic() - began > _LATE_SECONDS
        for (channel, _), read in zip(asked, served, strict=True):
            self._send(channel, messages.answer_text(read))

    def _send(self, channel: socket.socket, text: bytes) -> None:
        try:
            sent = channel.send(text)
        except OSError:
            sent = 0
        if sent < len(text):
            self._drop(channel)

    def _drop(self, channel: socket.socket) -> None:
        if channel in self._channels:
            self._channels.discard(channel)
            self._selector.unregister(channel)
            channel.close()


def serve_reads(door: socket.socket, *, ready: Callable[[], object]) -> None:
    """Serve reads in this process until a signal asks to stop; `ready` is called once they are served."""
    server = EngineServer(door)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    threading.Thread(target=_keep_keys, name="keys", daemon=True).start()
    threading.Thread(target=_watch, args=(server.batches,), name="watchdog", daemon=True).start()
    ready()
    server.run()
    connections.close_all()


def _is_closed(channel: socket.socket) -> bool:
    """Return whether who asked has gone: what it asks is neither read nor recorded."""
    try:
        return not channel.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def _watch(batches: Batches) -> None:
    """End a process whose batch is stuck. This thread waits for no database and no KMS."""
    while True:
        time.sleep(_WATCH_SECONDS)
        if batches.stuck_seconds() > STUCK_SECONDS:
            logger.error("the read engine is stuck: it ends, and another one is started")
            os._exit(1)


def _keep_keys() -> None:
    """Look in time whether system keys were replaced, which may ask KMS."""
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
    except (KeeperError, Error) as error:
        # What is open is as good as it was.
        logger.warning("cannot look whether system keys were replaced: %s", type(error).__name__)
    finally:
        connections.close_all()
