"""The thread that closes stuck connections keeps no descriptor, and goes on whatever fails."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from errno import EMFILE
from pathlib import Path

import pytest

from keeper_project.runtime import stuck_connections
from keeper_project.runtime.stuck_connections import close_stuck
from keeper_project.tests.processes.test_stopping import until


class Connection:
    """A connection of a server in this process, with both of its ends."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port: int = server.getsockname()[1]
            self.client = socket.create_connection(("127.0.0.1", self.port))
            self.served, _ = server.accept()

    def is_shut(self) -> bool:
        """Return whether the server has ended it; what it had sent before is taken first."""
        self.client.setblocking(False)
        with suppress(BlockingIOError):
            while self.client.recv(1 << 20):
                pass
            return True
        return False

    def close(self) -> None:
        self.client.close()
        self.served.close()


@pytest.fixture
def connection() -> Iterator[Connection]:
    with closing(Connection()) as made:
        yield made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck_connections, "QUIET_SECONDS", 0.05)


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_what_is_no_connection_is_left_open_and_uncopied(
    tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck_connections, "QUIET_SECONDS", 60)
    ends = os.pipe()
    with (tmp_path / "file").open("w"), socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0)):
        before = descriptors()
        for _ in range(20):
            close_stuck(connection.port, is_body_late=True)
        assert descriptors() == before
    for end in ends:
        os.close(end)
    assert not connection.is_shut()


def test_a_descriptor_that_is_another_file_meanwhile_is_not_kept(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the copy its owner closed it, and opened a file by the same number."""
    copy = os.dup
    with Path(os.devnull).open() as other:
        monkeypatch.setattr(os, "dup", lambda _: copy(other.fileno()))
        before = descriptors()
        close_stuck(connection.port, is_body_late=True)
        assert descriptors() == before


def test_a_quiet_connection_is_shut_while_a_body_is_late(connection: Connection) -> None:
    def is_shut(*, is_body_late: bool) -> bool:
        close_stuck(connection.port, is_body_late=is_body_late)
        return connection.is_shut()

    connection.client.sendall(b"user")
    for _ in range(50):
        assert not is_shut(is_body_late=False)
    until(lambda: is_shut(is_body_late=True), "it was left open")


def test_a_connection_that_takes_nothing_of_its_answer_is_shut(connection: Connection) -> None:
    connection.served.setblocking(False)
    with suppress(BlockingIOError):
        while connection.served.send(bytes(1 << 20)):
            pass

    def is_shut() -> bool:
        close_stuck(connection.port, is_body_late=False)
        try:
            return not connection.served.send(b"more")
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True

    until(is_shut, "it was left open")


def test_the_thread_goes_on_where_no_descriptor_is_left(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick, listed, pause = 0, Path.iterdir, threading.Event().wait

    def list_in_the_end(path: Path) -> Iterator[Path]:
        if tick < 3:
            raise OSError(EMFILE, "Too many open files")
        return listed(path)

    def wait(_: float) -> None:
        nonlocal tick
        tick += 1
        pause(0.01)
        if connection.is_shut():
            raise SystemExit

    monkeypatch.setattr(Path, "iterdir", list_in_the_end)
    monkeypatch.setattr("keeper_project.runtime.stuck_connections.time.sleep", wait)
    with pytest.raises(SystemExit):
        stuck_connections._watch(connection.port, lambda: True)
    assert tick > 3
