"""A line to a server that cuts, swallows replies, or stands for a worker that died, at a chosen point.

It counts what the client sends, over all connections since it was armed; TLS hides what that is.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What happens at the chosen point."""

    # The server never gets what was sent.
    CUT = "cut"
    # The server does what was sent, and its reply is lost.
    DROP = "drop"


@dataclass
class Line:
    """A port that leads to a server's port."""

    server_port: int
    fault: Fault | None = None
    at: int = 0
    # Nothing leaves a worker that died.
    dead: bool = False
    # Whether the worker dies along with the line.
    deadly: bool = False
    fired: int = 0

    def __post_init__(self) -> None:
        self._sent, self._lock = 0, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, fault: Fault | None, at: int = 0, *, deadly: bool = False) -> None:
        """Let the line fail once, at the n-th time that the client sends something."""
        with self._lock:
            self.fault, self.at, self.deadly, self.dead, self._sent = fault, at, deadly, False, 0

    def close(self) -> None:
        # A thread that waits for the next one is not woken by a `close` alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.dead:
                _close(client)
                continue
            server = socket.create_connection(("127.0.0.1", self.server_port))
            self._open |= {client, server}
            pair = _Pair(client, server)
            threading.Thread(target=self._up, args=(pair,), daemon=True).start()
            threading.Thread(target=self._down, args=(pair,), daemon=True).start()

    def _up(self, pair: "_Pair") -> None:
        for chunk in _chunks(pair.client):
            fault = self._passing()
            if fault is Fault.CUT:
                break
            if fault is Fault.DROP:
                pair.swallows = True
            try:
                pair.server.sendall(chunk)
            except OSError:
                break
        if not pair.swallows:
            self._end(pair)

    def _down(self, pair: "_Pair") -> None:
        for chunk in _chunks(pair.server):
            if pair.swallows:
                break
            try:
                pair.client.sendall(chunk)
            except OSError:
                break
        self._end(pair)

    def _passing(self) -> Fault | None:
        with self._lock:
            self._sent += 1
            if self.dead:
                return Fault.CUT
            if self.fault is None or self._sent != self.at:
                return None
            self.fired += 1
            self.dead = self.deadly
            return self.fault

    def _end(self, pair: "_Pair") -> None:
        for each in (pair.client, pair.server):
            _close(each)
            self._open.discard(each)


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server, self.swallows = client, server, False


def _chunks(source: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            chunk = source.recv(65_536)
        except OSError:
            return
        if not chunk:
            return
        yield chunk


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
