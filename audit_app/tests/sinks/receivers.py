"""Receivers of events as their vendors document them, strict about what they take; over TLS."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "b5a8d3e0-hec-token"
_MEMBERS = {"time", "host", "source", "sourcetype", "index", "event", "fields"}


class Splunk:
    """A collector: its token, what it holds, and how it misbehaves."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.acknowledges, self.busy, self.refuses, self.hangs = False, False, "", False
        # How often an acknowledgement is still false; None: for ever.
        self.pending: int | None = 0
        self.asked = self.batches = 0
        self._channels: dict[str, int] = {}

    def take(  # noqa: C901, PLR0911 - a condition each, as the vendor lists them
        self, path: str, headers: Any, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if headers.get("Authorization") != f"Splunk {TOKEN}":
            return 403, {"text": "Invalid token", "code": 4}
        if self.busy:
            return 503, {"text": "Server is busy", "code": 9}
        channel = headers.get("X-Splunk-Request-Channel", "")
        if self.acknowledges and not channel:
            return 400, {"text": "Data channel is missing", "code": 10}
        if path.startswith("/services/collector/ack?channel="):
            return self._acknowledge(path.partition("=")[2], json.loads(body)["acks"])
        if path != "/services/collector/event":
            return 404, {"text": "The requested URL was not found on this server.", "code": 404}
        events = list(_objects(body.decode()))
        for number, event in enumerate(events):
            if set(event) - _MEMBERS or not isinstance(event.get("time"), float):
                return 400, {"text": "Invalid data format", "code": 6, "invalid-event-number": number}
            if not event.get("event"):
                return 400, {"text": "Event field is required", "code": 12, "invalid-event-number": number}
            if self.refuses and self.refuses in json.dumps(event):
                return 400, {"text": "Invalid data format", "code": 6, "invalid-event-number": number}
        self.events += events
        self.batches += 1
        reply: dict[str, Any] = {"text": "Success", "code": 0}
        if self.acknowledges:
            self._channels[channel] = self.batches
            reply["ackId"] = self.batches
        return 200, reply

    def _acknowledge(self, channel: str, numbers: list[int]) -> tuple[int, dict[str, Any]]:
        self.asked += 1
        ready = self.pending is not None and self.asked > self.pending
        return 200, {"acks": {str(n): ready and self._channels.get(channel) == n for n in numbers}}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield JSON objects that follow each other."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        found, position = decoder.raw_decode(text, position)
        yield found
        while position < len(text) and text[position] in "\r\n ":
            position += 1


@contextmanager
def collector(splunk: Splunk, folder: Path) -> Iterator[int]:
    """Serve a collector over TLS, and yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if splunk.hangs:
                stopped.wait(30)
                return
            status, reply = splunk.take(self.path, self.headers, body)
            answer = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = server_context(folder).wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


class Syslog:
    """A receiver of RFC 5425: it counts octets, and misbehaves as told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.cuts_after: int | None = None
        self.reads = True

    def take(self, messages: Sequence[bytes]) -> bool:
        """Keep the messages of one connection, and return whether to close it in order."""
        self.messages += messages
        return True


@contextmanager
def syslog_server(syslog: Syslog, folder: Path) -> Iterator[int]:
    """Serve a receiver over TLS, and yield its port."""
    stopped = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    # Closing it would wake nobody who waits.
    listener.settimeout(0.05)

    def serve() -> None:
        while not stopped.is_set():
            try:
                plain, _ = listener.accept()
                plain.settimeout(None)
                with server_context(folder).wrap_socket(plain, server_side=True) as line:
                    _take(syslog, line, stopped)
            except (OSError, ValueError):
                continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.close()


def _take(syslog: Syslog, line: ssl.SSLSocket, stopped: threading.Event) -> None:
    if not syslog.reads:
        stopped.wait(30)
        return
    received = b""
    while piece := line.recv(65_536):
        received += piece
        if syslog.cuts_after is not None and len(received) > syslog.cuts_after:
            return
    if syslog.take(list(_messages(received))):
        line.unwrap()


def _messages(received: bytes) -> Iterator[bytes]:
    """Yield messages that begin with their length; the last one may be cut."""
    position = 0
    while (space := received.find(b" ", position)) > 0:
        position = space + 1 + int(received[position:space])
        if position > len(received):
            return
        yield received[space + 1 : position]


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context
