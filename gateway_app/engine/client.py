"""How a web process reaches the read engine, which serves the reads of all web processes (`process`).

Each read that waits has a connection of its own. A thread that finds none idle makes a pair, and sends the
engine's end by the door, which the supervisor made for all of them. Its forks alone reach the engine, and
both sides may be started again: a connection whose engine ended is closed by the system.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import Final

from gateway_app.engine import messages
from gateway_app.engine.process import SOCKET_BYTES
from gateway_app.engine.reads import Request, Served

# Each holds a thread of the server.
MAX_WAITING: Final = 200
# For this long a read waits for its answer, and a new channel to be taken.
WAIT_SECONDS: Final = 15.0
_GREETING_SECONDS: Final = 1.0
# Where reads wait longer, the process is not ready.
SLOW_SECONDS: Final = 10.0
# An engine that took no channel is not asked again for so long.
_AWAY_SECONDS: Final = 1.0


class EngineBusy(Exception):
    """Too many reads wait, or the engine did not answer in time. Nothing was revealed."""


class _Away(Exception):
    """The engine ended, or did not begin yet."""


class ReadEngine:
    """The read engine as a web process sees it; without a `door` all is left to the general path.

    `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        door: socket.socket | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self._door, self._clock, self._wait = door, clock, wait
        if door:
            door.setblocking(False)
        self._room = threading.BoundedSemaphore(MAX_WAITING)
        self._idle: list[Connection] = []
        # When each read that waits was asked.
        self._asked: dict[Connection, float] = {}
        self._away_until = 0.0

    def read(self, request: Request) -> Served:
        """Wait for a read to be granted and recorded; None if the general path has to decide.

        Raises EngineBusy.
        """
        if not self._room.acquire(blocking=False):
            raise EngineBusy
        try:
            return self._answered(request)
        except _Away:
            return None
        finally:
            self._room.release()

    def stuck_seconds(self) -> float:
        """Return for how long the oldest read waits, 0 if none does."""
        asked = [*self._asked.values()]
        return self._clock() - min(asked) if asked else 0.0

    def stop(self) -> None:
        """Take no more reads: what comes later is left to the general path."""
        self._door = None
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _answered(self, request: Request) -> Served:
        """Ask, and wait for the answer. Raises _Away, and EngineBusy if none came in time."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connection()
        self._asked[connection] = self._clock()
        try:
            connection.send_bytes(messages.request_text(request))
            text = connection.recv_bytes()
        except BaseException as error:
            # An answer that comes late would be taken for that of the next request.
            connection.close()
            if isinstance(error, BlockingIOError):
                raise EngineBusy from error
            if isinstance(error, OSError | EOFError):
                raise _Away from error
            raise
        finally:
            del self._asked[connection]
        self._idle.append(connection)
        return messages.answer_of(text, request)

    def _connection(self) -> Connection:
        """Return a new connection that the engine has taken. Raises _Away."""
        if self._door is None or self._clock() < self._away_until:
            raise _Away
        try:
            return _connected(self._door, self._wait)
        except OSError as error:
            self._away_until = self._clock() + _AWAY_SECONDS
            raise _Away from error


def _connected(door: socket.socket, wait: float) -> Connection:
    """Send one end of a pair by the door; return the other once it is taken. Raises OSError."""
    own, others = socket.socketpair()
    with own, others:
        for end in (own, others):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        socket.send_fds(door, [b"\0"], [others.fileno()])
        # The engine alone has it now: if that ends, this end sees it.
        others.close()
        _limit(own, _GREETING_SECONDS)
        if not own.recv(1):
            raise ConnectionResetError
        _limit(own, wait)
        return Connection(own.detach())


def _limit(end: socket.socket, seconds: float) -> None:
    """Limit what a thread waits there. A timeout of Python's would ask the system twice."""
    whole = int(seconds)
    limit = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


class _Doors:
    """The ends of the door; made by the supervisor, before it forks."""

    def __init__(self) -> None:
        self.engine, self.web = socket.socketpair()


_doors: list[_Doors] = []


def open_door() -> socket.socket:
    """Make the door of this process's forks, once; return the end that the engine serves."""
    if not _doors:
        _doors.append(_Doors())
    return _doors[0].engine


@cache
def read_engine() -> ReadEngine:
    """Return the engine as this process reaches it."""
    return ReadEngine(_doors[0].web if _doors else None)
