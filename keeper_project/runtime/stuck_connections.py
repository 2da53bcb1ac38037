"""Closes connections that hold a thread of the server while a body does not come.

The server reads a body by a call that nothing interrupts; it ends when its connection does. The kernel is
asked how long ago each connection sent and received something, since the server does not report them.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from os import dup
from pathlib import Path
from typing import Final

# While a body is late: how long a client may send nothing and get nothing, and get nothing though it sends.
QUIET_SECONDS: Final = 60.0
UNANSWERED_SECONDS: Final = 300.0
_TICK_SECONDS: Final = 2.0
# linux/tcp.h, struct tcp_info: the milliseconds since something was sent, and since something was received.
_SENT_AT: Final = 44
_RECEIVED_AT: Final = 52
_INFO_BYTES: Final = 56
_FOLDER: Final = Path("/proc/self/fd")


def close_stuck_connections(port: int, *, has_late_bodies: Callable[[], bool]) -> None:
    """Have a thread close the stuck connections of a port while bodies are late, on Linux."""
    if _FOLDER.is_dir():
        threading.Thread(target=_watch, args=(port, has_late_bodies), name="stuck", daemon=True).start()


def _watch(port: int, has_late_bodies: Callable[[], bool]) -> None:
    while True:
        time.sleep(_TICK_SECONDS)
        for connection in _connections(port) if has_late_bodies() else ():
            with closing(connection), suppress(OSError):
                if _is_stuck(connection):
                    connection.shutdown(socket.SHUT_RDWR)


def _connections(port: int) -> Iterator[socket.socket]:
    """Yield a copy of each connection to the port, so that none is another one in the meantime."""
    for entry in list(_FOLDER.iterdir()):
        with suppress(OSError):
            copy = socket.socket(fileno=dup(int(entry.name)))
            if _is_connected(copy, port):
                yield copy
            else:
                copy.close()


def _is_connected(made: socket.socket, port: int) -> bool:
    with suppress(OSError):
        internet = made.family in {socket.AF_INET, socket.AF_INET6} and made.type == socket.SOCK_STREAM
        return internet and made.getsockname()[1] == port and bool(made.getpeername())
    return False


def _is_stuck(connection: socket.socket) -> bool:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    (sent,), (received,) = (struct.unpack_from("=I", info, place) for place in (_SENT_AT, _RECEIVED_AT))
    is_quiet = min(sent, received) > QUIET_SECONDS * 1000
    return bool(is_quiet or sent > UNANSWERED_SECONDS * 1000)
