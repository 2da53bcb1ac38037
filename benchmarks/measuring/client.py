"""A light HTTP/1.1 client: one thread, raw keep-alive sockets, so that the server has the cores.

Client and server share the machine; http.client costs as much as the fastest server here.
"""

import json
import random
import selectors
import socket
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Self, TypeVar

TIMEOUT_SECONDS = 60
_PATCH_TYPE = "application/merge-patch+json"
_END_OF_CHUNKS = b"\r\n0\r\n\r\n"
_Request = TypeVar("_Request")


class UnexpectedAnswer(RuntimeError):
    """A server answered something else than success; the message holds how the answer begins."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and the headers that let a client in."""

    port: int
    headers: Mapping[str, str]

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        """Return the bytes of a request; `body` is sent as JSON."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(content))}
        if content:
            headers["Content-Type"] = _PATCH_TYPE if method == "PATCH" else "application/json"
        headers |= self.headers
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content

    def random_reads(self, paths: Sequence[str], *, seed: int) -> Iterator[bytes]:
        """Yield GETs of random ones of these paths for ever; the same ones for the same seed."""
        head, tail = self.request("GET", "\0").split(b"\0")
        draw, count = random.Random(seed).random, len(paths)
        while True:
            yield head + paths[int(draw() * count)].encode() + tail

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return the parsed answer. Raises UnexpectedAnswer."""
        with _Connection(self.port) as connection:
            connection.send(self.request(method, path, body))
            while not connection.receive():
                pass
            connection.refuse_failure()
            return json.loads(connection.body()) if connection.body() else None


@dataclass(frozen=True)
class Load:
    """What a run of requests took."""

    seconds: float
    latencies: Sequence[float]

    @property
    def count(self) -> int:
        """How many requests were answered."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return len(self.latencies) / self.seconds

    @property
    def median_ms(self) -> float:
        """The median time of one request, in milliseconds."""
        return statistics.median(self.latencies) * 1000

    def slowest_ms(self, share: float) -> float:
        """Return the milliseconds within which this share of the requests was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


@dataclass(frozen=True)
class Mixed:
    """What a run of requests of several kinds took; errors by kind and how the answer began."""

    seconds: float
    latencies: Mapping[str, Sequence[float]]
    errors: Mapping[str, int]


def mixed(port: int, requests: Iterator[tuple[str, bytes]], *, clients: int, seconds: float) -> Mixed:
    """Send requests of several kinds from so many clients; what fails is counted and goes on."""
    return _drive(port, [_within(seconds, requests)] * clients, strict=False)


def for_seconds(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Send requests over and over from so many clients, each waiting for its answer."""
    return _alike(port, _within(seconds, cycle(requests)), clients)


def random_for_seconds(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> Load:
    """Send the next ones of endless requests from so many clients, each waiting for its answer."""
    return _alike(port, _within(seconds, requests), clients)


def all_of(port: int, requests: Sequence[bytes], *, clients: int) -> Load:
    """Send each request once, shared between so many clients."""
    return _alike(port, iter(requests), clients)


def _within(seconds: float, requests: Iterator[_Request]) -> Iterator[_Request]:
    """Yield requests for so long from the first one on, which is there in any case."""
    deadline = 0.0
    for request in requests:
        now = time.perf_counter()
        deadline = deadline or now + seconds
        if now > deadline:
            return
        yield request


class _Connection:
    """A connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._answer = bytearray()
        self._length: int | None = None
        self._head = 0
        self.status = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        """Send a request and forget the answer before it."""
        self._answer.clear()
        self._head, self._length, self.status = 0, None, ""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what has arrived, and say whether the answer is complete.

        Raises UnexpectedAnswer if the connection ended.
        """
        part = self.socket.recv(262_144)
        self._answer += part
        if not part:
            raise UnexpectedAnswer(f"the connection ended: {bytes(self._answer[:500])!r}")
        if not self._head:
            self._read_head()
        if not self._head:
            return False
        if self._length is None:
            return self._answer.endswith(_END_OF_CHUNKS)
        return len(self._answer) >= self._head + self._length

    @property
    def failed(self) -> bool:
        """Whether the answer is something else than success, or than that nothing has changed."""
        return not self.status.startswith(("http/1.1 2", "http/1.1 304"))

    def refuse_failure(self) -> None:
        """Raise UnexpectedAnswer for anything but success."""
        if self.failed:
            raise UnexpectedAnswer(repr(bytes(self._answer[:1000])))

    def body(self) -> bytes:
        """Return the body of a complete answer."""
        body = bytes(self._answer[self._head :])
        return body if self._length is not None else b"".join(_chunks(body))

    def _read_head(self) -> None:
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return
        self._head = end + 4
        status, *lines = bytes(self._answer[:end]).lower().split(b"\r\n")
        self.status = status.decode()
        headers = dict(line.split(b": ", 1) for line in lines)
        if headers.get(b"transfer-encoding") != b"chunked":
            self._length = int(headers.get(b"content-length", 0))


def _chunks(body: bytes) -> Iterator[bytes]:
    at = 0
    while size := int(body[at : (line_end := body.index(b"\r\n", at))], 16):
        yield body[line_end + 2 : line_end + 2 + size]
        at = line_end + 2 + size + 2


def _alike(port: int, requests: Iterator[bytes], clients: int) -> Load:
    found = _drive(port, [(("", request) for request in requests)] * clients, strict=True)
    return Load(found.seconds, found.latencies.get("", []))


def _drive(port: int, streams: Sequence[Iterator[tuple[str, bytes]]], *, strict: bool) -> Mixed:
    """Have one connection for each stream send what it yields; several may share one stream."""
    latencies: dict[str, list[float]] = defaultdict(list)
    errors: Counter[str] = Counter()
    connections = {_Connection(port): stream for stream in streams}
    under_way: dict[_Connection, str] = {}
    started = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection, stream in connections.items():
            first = next(stream, None)
            if first is None:
                continue
            under_way[connection] = first[0]
            connection.send(first[1])
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while selector.get_map():
            for key, _ in selector.select(TIMEOUT_SECONDS):
                connection = key.data
                if not connection.receive():
                    continue
                if strict:
                    connection.refuse_failure()
                kind = under_way[connection]
                if connection.failed:
                    errors[f"{kind}: {connection.status}"] += 1
                latencies[kind].append(time.perf_counter() - connection.sent_at)
                following = next(connections[connection], None)
                if following is None:
                    selector.unregister(connection.socket)
                else:
                    under_way[connection] = following[0]
                    connection.send(following[1])
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.socket.close()
    return Mixed(seconds, latencies, errors)
