"""Closes connections whose clients hold up the server: a body does not come, or an answer is not taken.

The server limits neither. It reads a body by a call that only the end of the connection interrupts, and it
keeps an answer until its client has taken it. The kernel is asked how long ago each connection sent and
received something, since the server does not report them.
"""

import fcntl
import os
import socket
import stat
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

# How long a client may take nothing of its answer, and, while a body is late, send nothing and get nothing.
QUIET_SECONDS: Final = 60.0
# While a body is late: how long a client may get nothing though it sends.
UNANSWERED_SECONDS: Final = 300.0
TICK_SECONDS: Final = 2.0
# linux/tcp.h, struct tcp_info: the milliseconds since something was sent, and since something was received.
_SENT_AT: Final = 44
_RECEIVED_AT: Final = 52
_INFO_BYTES: Final = 56
_FOLDER: Final = Path("/proc/self/fd")


def close_stuck_connections(port: int, *, has_late_bodies: Callable[[], bool]) -> None:
    """Have a thread close the stuck connections of a port, on Linux."""
    if _FOLDER.is_dir():
        threading.Thread(target=_watch, args=(port, has_late_bodies), name="stuck", daemon=True).start()


def _watch(port: int, has_late_bodies: Callable[[], bool]) -> None:
    while True:
        time.sleep(TICK_SECONDS)
        # It looks again a moment later, whatever failed: without it the server would fill up.
        with suppress(OSError):
            close_stuck(port, is_body_late=has_late_bodies())


def close_stuck(port: int, *, is_body_late: bool) -> None:
    """Look at each connection to a port once, and shut down those that are stuck."""
    for connection in _connections(port):
        with closing(connection), suppress(OSError):
            if _is_stuck(connection, is_body_late=is_body_late):
                connection.shutdown(socket.SHUT_RDWR)


def _connections(port: int) -> Iterator[socket.socket]:
    """Yield a copy of each connection to the port, so that none is another one in the meantime."""
    for entry in list(_FOLDER.iterdir()):
        copy = _copied(int(entry.name))
        if copy is not None and _is_connected(copy, port):
            yield copy
        elif copy is not None:
            copy.close()


def _copied(descriptor: int) -> socket.socket | None:
    """Return a copy of a descriptor, or None if it is no socket or is gone."""
    copy = -1
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        copy = os.dup(descriptor)
        return socket.socket(fileno=copy)
    except OSError:
        # It was closed since, and may be another file by now.
        if copy >= 0:
            os.close(copy)
        return None


def _is_connected(made: socket.socket, port: int) -> bool:
    with suppress(OSError):
        internet = made.family in {socket.AF_INET, socket.AF_INET6} and made.type == socket.SOCK_STREAM
        return internet and made.getsockname()[1] == port and bool(made.getpeername())
    return False


def _is_stuck(connection: socket.socket, *, is_body_late: bool) -> bool:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    (sent,), (received,) = (struct.unpack_from("=I", info, place) for place in (_SENT_AT, _RECEIVED_AT))
    if sent > QUIET_SECONDS * 1000 and _has_unsent(connection):
        return True
    is_quiet = min(sent, received) > QUIET_SECONDS * 1000
    return is_body_late and (is_quiet or sent > UNANSWERED_SECONDS * 1000)


def _has_unsent(connection: socket.socket) -> bool:
    """Return whether the kernel keeps bytes for the client (tcp(7), SIOCOUTQ)."""
    (waiting,) = struct.unpack("=i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    return bool(waiting)
