"""Clients that send slowly, or nothing more, hold up nobody: attacks on the real server processes."""

import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from keeper_project.runtime.request_threads import MAX_BODIES
from keeper_project.tests.processes.test_stopping import children, until
from tests.served import Served, keeper

# More than there are threads, and than are kept for bodies.
ATTACKERS = (16, 200)
PATHS = ("/healthz", "/readyz", "/sign-in")
START = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
ANSWER_SECONDS = 60
# More than the server took before, and than it takes now.
IDLE, MANY_IDLE = 1100, 3000
PROBE_SECONDS = 3
# What other requests open meanwhile: files, and connections to the database.
BESIDE = 40
# States of a connection in /proc/net/tcp.
ESTABLISHED, CLIENT_LEFT = "01", "08"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, schema: Path | None) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("attacked") / "var"
    with keeper(
        data, "--no-worker", module="keeper_project.tests.processes.impatient", schema=schema
    ) as running:
        yield running
        # Nothing that the attackers left holds it up.
        assert running.stop() == 0


@pytest.fixture
def served(attacked: Served) -> Iterator[Served]:
    """Return the Keeper that all tests attack, and demand that each attack leaves no connection behind."""
    yield attacked
    until(lambda: not connections_of(attacked.port), "a connection stayed")


def connections_of(port: int) -> list[str]:
    """Return the connections that a server has not closed."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        remote
        for _, local, remote, state, *_ in lines
        if int(local.rpartition(":")[2], 16) == port and state in {ESTABLISHED, CLIENT_LEFT}
    ]


def connected(port: int, sent: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
    made.sendall(sent)
    return made


def descriptors(served: Served) -> int:
    """Return how many descriptors the process that serves has open."""
    parents = {Path(f"/proc/{each}/comm").read_text().strip(): each for each in children(served.process.pid)}
    (server,) = children(parents["web server"])
    return len(list(Path(f"/proc/{server}/fd").iterdir()))


def post(port: int, body: bytes) -> bytes:
    """Send a whole request with a body, and return the first line of its answer; none if it is cut off."""
    head = START + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    with suppress(ConnectionError), closing(connected(port, head + body)) as asking:
        return asking.recv(64).partition(b"\r\n")[0]
    return b""


@pytest.mark.parametrize("count", ATTACKERS)
def test_bodies_that_never_come_hold_up_nobody(served: Served, count: int) -> None:
    with ExitStack() as held:
        attackers = [
            held.enter_context(
                closing(connected(served.port, START + b"Content-Length: 1000000\r\n\r\nuser"))
            )
            for _ in range(count)
        ]
        for path in PATHS:
            assert served.get(path)[0] == 200, path
        if count < MAX_BODIES:
            # Refused for want of a token, and not for want of a thread.
            assert post(served.port, b"username=a") == b"HTTP/1.1 403 Forbidden"
        else:
            # The attackers lose their connections, and with them their places.
            until(lambda: post(served.port, b"username=a") == b"HTTP/1.1 403 Forbidden", "no place came free")
        for attacker in attackers:
            until(partial(is_closed, attacker), "a connection stayed")
        for path in PATHS:
            assert served.get(path)[0] == 200, path


def is_closed(attacker: socket.socket) -> bool:
    try:
        return attacker.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_a_body_that_drips_is_cut(served: Served) -> None:
    with closing(connected(served.port, START + b"Content-Length: 1000\r\n\r\n")) as attacker:
        attacker.settimeout(0.5)

        def drip() -> bool:
            try:
                attacker.sendall(b"a")
                return is_closed(attacker)
            except TimeoutError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                return True

        until(drip, "it drips for ever")


def test_slow_bodies_leave_no_descriptor_behind(served: Served) -> None:
    """They drip, so that the connections are looked at many times before they are closed."""
    before, most = descriptors(served), 0
    with ExitStack() as held:
        attackers = [
            held.enter_context(closing(connected(served.port, START + b"Content-Length: 100000\r\n\r\n")))
            for _ in range(4)
        ]

        def are_cut() -> bool:
            nonlocal most
            most = max(most, descriptors(served))
            try:
                for attacker in attackers:
                    attacker.sendall(b"a")
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        until(are_cut, "they drip for ever")
    assert most < before + BESIDE
    assert served.get("/healthz")[0] == 200


def test_an_honest_body_that_comes_slowly_arrives(served: Served) -> None:
    """It is late, and looked at many times: 80 KB by 20 KB each second."""
    length, before = 80_000, descriptors(served)
    with closing(connected(served.port, START + f"Content-Length: {length}\r\n\r\n".encode())) as client:
        for _ in range(length // 2000):
            client.sendall(b"a" * 2000)
            time.sleep(0.1)
            assert descriptors(served) < before + BESIDE
        assert client.recv(64).startswith(b"HTTP/1.1 403 Forbidden")


def test_answers_that_are_not_taken_end_with_their_connections(served: Served) -> None:
    """They are kept in memory, and each holds one of the places for connections."""
    page = served.get("/sign-in")[1].decode()
    path = next(each for each in re.findall(r'"(/static/[^"]+)"', page) if "bootstrap" in each)
    until(lambda: not connections_of(served.port), "the connection that asked for the page stays")
    with ExitStack() as held:
        for _ in range(20):
            attacker = held.enter_context(closing(socket.socket()))
            attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            attacker.connect(("127.0.0.1", served.port))
            attacker.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 20)
        assert len(connections_of(served.port)) == 20
        until(lambda: not connections_of(served.port), "they hold their places for ever")


@pytest.mark.parametrize("count", [IDLE, pytest.param(MANY_IDLE, marks=pytest.mark.torture)])
def test_idle_connections_hold_up_no_probe(
    tmp_path: Path, schema: Path | None, descriptor_limit: None, count: int
) -> None:
    with keeper(tmp_path / "var", "--no-worker", schema=schema) as served, ExitStack() as held:
        for _ in range(count):
            held.enter_context(closing(connected(served.port, b"")))
        began = time.monotonic()
        assert served.get("/healthz")[0] == 200
        assert time.monotonic() - began < PROBE_SECONDS


@pytest.fixture
def descriptor_limit() -> Iterator[None]:
    """Let this process open as many connections as a test needs."""
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, highest))


def test_a_client_that_leaves_in_the_middle_leaves_nothing(served: Served) -> None:
    for _ in range(100):
        connected(served.port, START + b"Content-Length: 1000000\r\n\r\nuser").close()
    # As many as there are places, each of which is free once the server has seen that its client is gone.
    until(lambda: post(served.port, b"username=a") == b"HTTP/1.1 403 Forbidden", "a place stays taken")


@pytest.mark.parametrize("sent", [b"", b"GET /sign-in HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a head"])
def test_a_head_that_never_comes_is_given_up(served: Served, sent: bytes) -> None:
    with closing(connected(served.port, sent)) as attacker:
        assert attacker.recv(64)[:12] in {b"", b"HTTP/1.1 408"}


def test_a_large_body_arrives_whole(served: Served) -> None:
    """As it is too large for a form, and small enough to be read."""
    body = b"username=a&password=" + b"b" * 5_000_000
    assert post(served.port, body) == b"HTTP/1.1 403 Forbidden"


def test_a_chunked_write_is_refused_in_words(served: Served) -> None:
    head = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(served.port, head + b"8\r\nusername\r\n0\r\n\r\n") as asking:
        asking.settimeout(60)
        answer = asking.recv(4096)

    assert answer.startswith(b"HTTP/1.1 411")
