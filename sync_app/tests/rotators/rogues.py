"""Servers that want a password in clear: what no honest server of the tests can be made to do."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

SALT = b"12345678" + b"901234567890"


class Rogue:
    """What one listens on, and all that clients sent it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = b""
        self.connections = 0


@contextlib.contextmanager
def serving(talk: Callable[[socket.socket, Callable[[], bytes]], None]) -> Iterator[Rogue]:
    """Serve connections one after another until the block ends."""
    rogue = Rogue()
    lines: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                line, _ = rogue.listener.accept()
            except OSError:
                return

            rogue.connections += 1
            lines.append(line)

            def read() -> bytes:
                heard = line.recv(65_536)  # noqa: B023  called before the next line
                rogue.received += heard
                if not heard:
                    raise ConnectionError
                return heard

            with line, contextlib.suppress(OSError):
                talk(line, read)
                while True:
                    read()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield rogue
    finally:
        for each in (rogue.listener, *lines):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        rogue.listener.close()
        thread.join()


def mysql(
    first: str, switch: str | None, extra: bytes
) -> Callable[[socket.socket, Callable[[], bytes]], None]:
    """Greet as MySQL without TLS, ask for a plug-in, then say `extra`, as a request for more."""
    capabilities = 0x1 | 0x200 | 0x8000 | 0x80000
    greeting = (
        b"\x0a8.4.0\0"
        + (1).to_bytes(4, "little")
        + SALT[:8]
        + b"\0"
        + (capabilities & 0xFFFF).to_bytes(2, "little")
        + b"\x2d\x02\x00"
        + (capabilities >> 16).to_bytes(2, "little")
        + b"\x15"
        + bytes(10)
        + SALT[8:]
        + b"\0"
        + first.encode()
        + b"\0"
    )

    def talk(line: socket.socket, read: Callable[[], bytes]) -> None:
        def send(number: int, payload: bytes) -> None:
            line.sendall(len(payload).to_bytes(3, "little") + bytes([number]) + payload)

        send(0, greeting)
        number = read()[3] + 1
        if switch:
            send(number, b"\xfe" + switch.encode() + b"\0" + SALT + b"\0")
            number = read()[3] + 1
        send(number, b"\x01" + extra)

    return talk


def postgresql(request: bytes) -> Callable[[socket.socket, Callable[[], bytes]], None]:
    """Refuse TLS, then ask for one kind of authentication (the body of the message R)."""

    def talk(line: socket.socket, read: Callable[[], bytes]) -> None:
        if read()[4:8] == (80877103).to_bytes(4):
            line.sendall(b"N")
            read()
        line.sendall(b"R" + (4 + len(request)).to_bytes(4) + request)

    return talk


def silent(line: socket.socket, read: Callable[[], bytes]) -> None:
    """Take everything and answer nothing."""
