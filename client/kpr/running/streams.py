"""The output of a command on its way through a mask: by pipes, or by a terminal where kpr has one."""

import fcntl
import os
import pty
import select
import sys
import termios
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from kpr.running.masking import SHORTEST, Masker

_CHUNK = 65536
# PIPE_BUF: so many bytes are written whole where there is room for any.
_SLICE = 4096
# How long a program pauses before its prompt is shown to the last byte.
_PAUSE_SECONDS = 0.05
# What children of the command write after its end is awaited so long, and at most so long in all.
_QUIET_SECONDS = 0.2
_LONGEST_SECONDS = 2.0


class MaskedOutput:
    """The two outputs of one command. A thread copies them from `start` until the block ends."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        # Where the command's output is read, and to which output of kpr it goes.
        self._sources: dict[int, int] = {}
        self._given: list[int] = []
        self._terminals: dict[int, int] = {}
        self._stop, self._stopping = -1, -1
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "MaskedOutput":  # noqa: PYI034 - Python 3.10 has no Self
        for name, value in self._secrets.items():
            if len(value.encode()) < SHORTEST:
                sys.stderr.write(f"kpr: {name} has fewer than {SHORTEST} bytes and is not masked\n")
        sys.stderr.flush()
        first = self._open(1)
        # One stream where both go to one place, so that their order stays.
        is_one = os.path.samestat(os.fstat(1), os.fstat(2))
        self._given = [first, first if is_one else self._open(2)]
        self._stop, self._stopping = os.pipe()
        return self

    def __exit__(self, *_: object) -> None:
        self._close_given()
        os.close(self._stopping)
        if self._thread is not None:
            self._thread.join()
        for source in self._sources:
            os.close(source)
        os.close(self._stop)

    @property
    def for_command(self) -> tuple[int, int]:
        """The handles that the command gets as its standard output and error."""
        return self._given[0], self._given[1]

    def start(self) -> None:
        """Begin to copy, after the command has inherited its handles."""
        self._close_given()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def resize(self) -> None:
        """Give the command's terminals the size of kpr's own."""
        for source, output in self._terminals.items():
            with suppress(OSError):
                fcntl.ioctl(source, termios.TIOCSWINSZ, fcntl.ioctl(output, termios.TIOCGWINSZ, bytes(8)))

    def _open(self, output: int) -> int:
        if not os.isatty(output):
            source, given = os.pipe()
        else:
            source, given = pty.openpty()
            self._terminals[source] = output
            modes = termios.tcgetattr(given)
            # Kpr's own terminal turns line feeds into what it needs.
            modes[1] &= ~termios.OPOST
            termios.tcsetattr(given, termios.TCSANOW, modes)
            self.resize()
        self._sources[source] = output
        return given

    def _close_given(self) -> None:
        for given in set(self._given):
            os.close(given)
        self._given = []

    def _copy(self) -> None:
        maskers = {source: Masker(self._secrets.values()) for source in self._sources}
        waiting = select.poll()
        for source in (*maskers, self._stop):
            waiting.register(source, select.POLLIN)
        ends = float("inf")
        while maskers and time.monotonic() < ends:
            is_ending = ends < float("inf")
            ready = waiting.poll(1000 * (_QUIET_SECONDS if is_ending else _PAUSE_SECONDS))
            if not ready and is_ending:
                break
            for source, _ in ready:
                if source == self._stop:
                    waiting.unregister(source)
                    ends = time.monotonic() + _LONGEST_SECONDS
                elif not self._pass_on(source, maskers[source]):
                    waiting.unregister(source)
                    del maskers[source]
            if not ready:
                for source, masker in maskers.items():
                    _write(self._sources[source], masker.pause())
        for source, masker in maskers.items():
            _write(self._sources[source], masker.end())

    def _pass_on(self, source: int, masker: Masker) -> bool:
        """Copy what a source has, and return whether more can come."""
        try:
            data = os.read(source, _CHUNK)
        except OSError:
            # A terminal that no process has open any more.
            data = b""
        is_read = _write(self._sources[source], masker.feed(data) if data else masker.end())
        if not is_read:
            # The command gets SIGPIPE, as it would without kpr.
            os.close(source)
            del self._sources[source]
        return is_read and bool(data)


def _write(output: int, data: bytes) -> bool:
    """Write all of it, and return whether the reader is still there."""
    try:
        while data:
            # What kpr inherited may not wait on its own.
            select.select([], [output], [])
            data = data[os.write(output, data[:_SLICE]) :]
    except OSError:
        return False
    return True
