"""A port that leads to one server until it is turned to another, as a DNS name or a load balancer does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TcpSwitch:
    """Forwards each connection to the port in `to`; a turn closes those that are open."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._open: list[socket.socket] = []
        self._passes = threading.Event()
        self._passes.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def turn(self, to: int) -> None:
        """Lead to another port from now on."""
        self._to = to
        for each in self._open:
            _close(each)
        self._open = []
        self._passes.set()

    def swallow(self) -> None:
        """Take connections and bytes from now on and answer nothing, as a network without a way there does."""
        self._passes.clear()

    def close(self) -> None:
        """Stop listening, and close what is open."""
        _close(self._listener)
        self.turn(0)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._lead_on(near)

    def _lead_on(self, near: socket.socket) -> None:
        to = self._to
        try:
            far = socket.create_connection(("127.0.0.1", to))
        except OSError:
            # As a load balancer does in front of a server that is down; the next one may be up.
            _close(near)
            return
        self._open += [near, far]
        if to != self._to:
            # It was turned meanwhile.
            _close(near)
            _close(far)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_copy, args=(source, sink, self._passes), daemon=True).start()


@contextmanager
def tcp_switch(to: int) -> Iterator[TcpSwitch]:
    """Give a switch that leads to a port."""
    switch = TcpSwitch(to)
    try:
        yield switch
    finally:
        switch.close()


def _copy(source: socket.socket, sink: socket.socket, passes: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            passes.wait()
            sink.sendall(data)
    _close(source)
    _close(sink)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
