"""A file that is only ever appended to; `chattr +a` keeps even its owner from changing what is in it."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from audit_app.errors import SinkDown
from audit_app.models import deployment_uuid
from audit_app.sinks.base import Sink

_BLOCK: Final = 64 * 1024
# As in the text of a checkpoint, which a line holds as a string.
_NUMBER: Final = re.compile(rb'\\"number\\":(\d{1,15})\b')
# Weeks of checkpoints; hiding a newer one behind older ones needs more than that.
_TAIL: Final = 64 * 1024 * 1024


class FileSink(Sink):
    """Appends lines to one file, each batch on the disk before it returns."""

    kind: ClassVar[str] = "file"
    readable = True

    def __init__(self, directory: Path, what: str) -> None:
        super().__init__(f"{what}:file:{directory}")
        self._directory, self._what = directory, what

    @property
    def _path(self) -> Path:
        # One file for each deployment: files of another one are not this one's audit log.
        return self._directory / f"{self._what}-{deployment_uuid()}.jsonl"

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        """Append the lines and wait for the disk."""
        del number, stream
        with self._opened(os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A line that a crash has torn is closed, so that it swallows none of these.
            separator = b"" if self._ends_whole() else b"\n"
            rest = separator + b"".join(lines)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        return len(lines)

    def newest(self, *, thorough: bool = False) -> bytes | None:
        """Return the line of the highest number, of the last 64 MiB or of all; a torn one is none."""
        try:
            with self._opened(os.O_RDONLY) as descriptor:
                lines = _lines_from_end(descriptor, None if thorough else _TAIL)
                # Text after the last line break is an incomplete write.
                next(lines, None)
                highest, newest_line = 0, None
                for line in lines:
                    # Unverified: parsing each line would take long.
                    match = _NUMBER.search(line)
                    number = int(match[1]) if match else 0
                    if number > highest and _is_json(line):
                        highest, newest_line = number, line
                return newest_line
        except FileNotFoundError:
            return None

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) in {b"", b"\n"}

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, flags, 0o600)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SinkDown(f"{self.name}: {error.strerror}") from error


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _lines_from_end(descriptor: int, most: int | None) -> Iterator[bytes]:
    size, rest = os.fstat(descriptor).st_size, b""
    position = size
    while position and (most is None or size - position < most):
        start = max(position - _BLOCK, 0)
        *lines, last = (os.pread(descriptor, position - start, start) + rest).split(b"\n")[::-1]
        yield from lines
        position, rest = start, last
    yield rest
