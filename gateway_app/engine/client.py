"""How a web process reaches the read engine, which serves the reads of all web processes (`process`).

Each read that waits has a channel, a pair of sockets of which the engine has one end. A thread that needs one
makes it, and sends that end by the door, which the supervisor made for all of them. Its forks alone reach the
engine, and both sides may be started again: a channel whose engine ended is closed by the system.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
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


class _Channel:
    """A pair of sockets for one read at a time; `asked_at` is when the one at hand was sent."""

    __slots__ = ("asked_at", "ends")

    def __init__(self, door: socket.socket, wait: float) -> None:
        self.asked_at: float | None = None
        try:
            self.ends, others = socket.socketpair()
        except OSError as error:
            raise _Away from error
        try:
            with others:
                _give_room(self.ends, others)
                socket.send_fds(door, [b"\0"], [others.fileno()])
            _limit(self.ends, _GREETING_SECONDS)
            if not self.ends.recv(1):
                raise ConnectionResetError
            _limit(self.ends, wait)
        except OSError as error:
            self.ends.close()
            raise _Away from error

    def answer(self, request: Request) -> Served:
        """Ask, and wait for the answer. Raises _Away, and EngineBusy if none came in time."""
        try:
            self.ends.sendall(messages.request_text(request))
            text = messages.received(self.ends)
        except BlockingIOError as error:
            raise EngineBusy from error
        except OSError as error:
            raise _Away from error
        if not text:
            raise _Away
        return messages.answer_of(text, request)


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
        self._idle: list[_Channel] = []
        self._asked: set[_Channel] = set()
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
        asked = [since for channel in tuple(self._asked) if (since := channel.asked_at) is not None]
        return self._clock() - min(asked) if asked else 0.0

    def stop(self) -> None:
        """Take no more reads: what comes later is left to the general path."""
        self._door = None
        with suppress(IndexError):
            while True:
                self._idle.pop().ends.close()

    def _answered(self, request: Request) -> Served:
        channel = self._channel()
        channel.asked_at = self._clock()
        self._asked.add(channel)
        try:
            read = channel.answer(request)
        except BaseException:
            # An answer that comes late would be taken for that of the next request.
            channel.ends.close()
            raise
        finally:
            self._asked.discard(channel)
        self._idle.append(channel)
        return read

    def _channel(self) -> _Channel:
        try:
            return self._idle.pop()
        except IndexError:
            return self._new_channel()

    def _new_channel(self) -> _Channel:
        if self._door is None or self._clock() < self._away_until:
            raise _Away
        try:
            return _Channel(self._door, self._wait)
        except _Away:
            self._away_until = self._clock() + _AWAY_SECONDS
            raise


def _give_room(*ends: socket.socket) -> None:
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)


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
