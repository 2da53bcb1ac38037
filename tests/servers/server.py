"""One server process: started on a free port in a directory of its own, waited for, stopped."""

import fcntl
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

# Below Linux's ephemeral range, so that no outgoing connection takes the port meanwhile.
PORTS = range(20_000, 32_000)
# How far neighbouring processes, as the workers of one run are, begin from each other.
_PORTS_APART = 331
START_SECONDS = 120
STOP_SECONDS = 10


class MissingServer(RuntimeError):
    """A server's program is not installed; the message says what to install."""


class ServerFailed(RuntimeError):
    """A server ended, or did not answer in time; the message ends with its last output."""


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on, and that nobody else of these tests has got.

    Between here and its server's start, which may take seconds, a port belongs to nobody. So each process
    that asks notes what it was given in a file that all of them share, until it ends.
    """
    for place in _places_of(os.getpid()):
        port = PORTS[place % len(PORTS)]
        if not _is_taken_note_of(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("places have no end")


def _is_taken_note_of(port: int) -> bool:
    """Note that this process has a port, unless another one has: a byte of the file is locked for it."""
    try:
        fcntl.lockf(_notes_of(os.getpid()), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


@cache
def _notes_of(_process: int) -> int:
    """Open the file once a process: to close it would drop its locks."""
    path = Path(tempfile.gettempdir()) / f"keeper-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@cache
def _places_of(process: int) -> Iterator[int]:
    """Return the numbers from another one on for each process; threads may share them."""
    return itertools.count(process * _PORTS_APART)


def accepts(port: int) -> bool:
    """Say whether something listens on a port of the loopback address."""
    return accepts_at("127.0.0.1", port)


def accepts_at(address: str, port: int) -> bool:
    """Say whether something listens on a port of an address of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


class Server(ABC):
    """A program that serves on the loopback address while it is started."""

    name: ClassVar[str]
    program: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def ready(self) -> bool:
        """Say whether the server answers."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the variables by which the tests find the server."""

    def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Write what the program needs before it starts."""

    def prepare_running(self) -> None:  # noqa: B027 - as above
        """Set up what can only be set up while the server runs."""

    def own_environment(self) -> dict[str, str]:
        """Return the variables that the program itself needs."""
        return {}

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        try:
            self.start()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the program without waiting for it.

        Raises MissingServer if it is not installed.
        """
        self.directory.mkdir(parents=True)
        self.prepare()
        self._run()

    def kill(self) -> None:
        """Let it die at once, as a machine does that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start_again(self) -> None:
        """Start what was killed on what it left, and wait until it answers."""
        self._run()
        self.until(self.ready)

    def _run(self) -> None:
        command = self.command()
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C reaches the tests, which still need their servers.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.own_environment()},
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server answers. Raises ServerFailed if it ends or takes too long."""
        self.until(self.ready)
        self.prepare_running()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something about the server holds. Raises ServerFailed as `wait` does."""
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            if self._process is None or self._process.poll() is not None:
                raise ServerFailed(f"{self.name} ended while it started:\n{self._last_output()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not answer in {START_SECONDS} s:\n{self._last_output()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the program, and everything that it started; does nothing if it does not run."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def log(self) -> Path:
        """The file with what the program printed."""
        return self.directory / "output.log"

    @property
    def pid(self) -> int | None:
        """The process id while the program runs."""
        return self._process.pid if self._process is not None else None

    @property
    def has_ended(self) -> bool:
        """Whether the program was started and has ended."""
        return self._process is not None and self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """The exit code of a program that has ended."""
        return self._process.poll() if self._process is not None else None

    def find(self, program: str) -> str:
        """Return the path of an installed program. Raises MissingServer if there is none."""
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
        found = shutil.which(program, path=os.pathsep.join(places))
        if found is None:
            raise MissingServer(f"{program} is not installed; it comes with {self.package}")
        return found

    def _last_output(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
