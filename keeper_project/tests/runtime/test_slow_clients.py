"""Clients that send slowly, or nothing more, hold up nobody: attacks on the real server processes."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from keeper_project.runtime.request_threads import MAX_BODIES
from keeper_project.tests.management.commands.test_run import Served, keeper
from keeper_project.tests.processes.test_stopping import until

# More than there are threads, and than are kept for bodies.
ATTACKERS = (16, 200)
PATHS = ("/healthz", "/readyz", "/sign-in")
START = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
ANSWER_SECONDS = 60
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
