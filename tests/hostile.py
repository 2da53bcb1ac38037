"""A server that accepts connections and never comes to an end: it drips, or sends without a pause."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

_DRIP_SECONDS = 0.1
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_PIECE = b" " * 65_536


def drip(head: bytes = b"") -> Iterator[bytes]:
    """Yield a start, and then a byte at a time."""
    yield head
    for _ in itertools.count():
        time.sleep(_DRIP_SECONDS)
        yield b" "


def flood(head: bytes, piece: bytes = _PIECE) -> Iterator[bytes]:
    """Yield a start, and then more than anybody has memory for."""
    yield head
    yield from itertools.repeat(piece)


def silence() -> Iterator[bytes]:
    """Yield nothing for ever."""
    for _ in itertools.count():
        time.sleep(_DRIP_SECONDS)
        yield b""


# What a server may do to a client of HTTP.
HTTP: dict[str, Callable[[], Iterable[bytes]]] = {
    "says nothing": silence,
    "drips its status": lambda: drip(b"HTTP/1.1 200"),
    "drips a header": lambda: drip(_HEAD + b"X-Long: "),
    "drips a body": lambda: drip(_HEAD + b"Content-Length: 100000\r\n\r\n"),
    "drips a body without a length": lambda: drip(_HEAD + b"Connection: close\r\n\r\n"),
    "drips a chunk": lambda: drip(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n"),
    "says without an end that it goes on": lambda: flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "sends headers without an end": lambda: flood(_HEAD, b"X: y\r\n" * 1000),
    "announces 800 MB": lambda: flood(_HEAD + b"Content-Length: 838860800\r\n\r\n"),
    "announces more than there is memory": lambda: flood(_HEAD + b"Content-Length: 99999999999999\r\n\r\n"),
    "sends a body without an end": lambda: flood(_HEAD + b"Connection: close\r\n\r\n"),
    "sends chunks without an end": lambda: flood(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + _PIECE + b"\r\n"
    ),
    "drips its certificate": lambda: drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"),
}
# The first words of other protocols, after which a byte comes now and then, or all at once.
GREETINGS: dict[str, Callable[[], Iterable[bytes]]] = {
    "says nothing": silence,
    "drips SMTP": lambda: drip(b"220-"),
    "greets by SMTP without an end": lambda: flood(b"", b"220-hello\r\n" * 1000),
    # A packet of 16 MB is followed by another, as long as each is full.
    "drips MySQL": lambda: drip(b"\xff\xff\x00\x00"),
    "floods by MySQL": lambda: flood(b"", b"\xff\xff\xff\x00" + b"\x0a" * 0xFFFFFF),
    "drips PostgreSQL": lambda: drip(b"R\x00\x00\x00\x08\x00"),
    # Signed in, and told parameters without an end.
    "floods by PostgreSQL": lambda: itertools.chain(
        [b"R\x00\x00\x00\x08\x00\x00\x00\x00"],
        (
            b"S\x00\x00\xff\x00name%010d\x00" % number + b"v" * 65_260 + b"\x00"
            for number in itertools.count()
        ),
    ),
}


class Hostile:
    """What it listens on, how many came, and how much they took."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.sent = 0
        self._lines: list[socket.socket] = []
        self._over = threading.Event()

    def talk(self, line: socket.socket, words: Iterable[bytes]) -> None:
        """Send words to one that came, until they end or all is over."""
        with line, contextlib.suppress(OSError):
            for piece in words:
                if self._over.is_set():
                    return
                line.sendall(piece)
                self.sent += len(piece)

    def accept(self, words: Callable[[], Iterable[bytes]]) -> None:
        """Talk to each that comes in a thread of its own, until all is over."""
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.listener.accept()
                self.connections += 1
                self._lines.append(line)
                threading.Thread(target=self.talk, args=(line, words()), daemon=True).start()

    def leave(self) -> None:
        """Cut everybody off, and listen no more."""
        self._over.set()
        for each in (self.listener, *self._lines):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@contextlib.contextmanager
def serving(words: Callable[[], Iterable[bytes]]) -> Iterator[Hostile]:
    """Serve any number of connections at once until the block ends."""
    hostile = Hostile()
    thread = threading.Thread(target=hostile.accept, args=(words,), daemon=True)
    thread.start()
    try:
        yield hostile
    finally:
        hostile.leave()
        thread.join()
