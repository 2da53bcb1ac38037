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
        self._gates: list[threading.Event] = []
        self.forget()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def turn(self, to: int) -> None:
        """Lead to another port from now on."""
        self._to = to
        for each in self._open:
            _close(each)
        self._open = []
        for gate in self._gates:
            gate.set()

    def swallow(self) -> None:
        """Take connections and bytes from now on and answer nothing, as a network without a way there does."""
        self._passes.clear()

    def mute(self) -> None:
        """Pass on what is asked from now on, and no answer."""
        self._answers.clear()

    def forget(self) -> None:
        """Leave the open connections as they are, and lead new ones on."""
        self._passes, self._answers = threading.Event(), threading.Event()
        self._gates += [self._passes, self._answers]
        self._passes.set()
        self._answers.set()

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
        for source, sink, gates in ((near, far, [self._passes]), (far, near, [self._passes, self._answers])):
            threading.Thread(target=_copy, args=(source, sink, gates), daemon=True).start()


@contextmanager
def tcp_switch(to: int) -> Iterator[TcpSwitch]:
    """Give a switch that leads to a port."""
    switch = TcpSwitch(to)
    try:
        yield switch
    finally:
        switch.close()


def _copy(source: socket.socket, sink: socket.socket, gates: list[threading.Event]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            for gate in gates:
                gate.wait()
            sink.sendall(data)
    _close(source)
    _close(sink)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
