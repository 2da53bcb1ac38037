"""The files in which the processes of `keeper run` add up what they measure: written, and not mapped.

The Prometheus client maps them. A page of a mapped file for which the disk has no room ends the process by
SIGBUS, whereas a write that finds no room is an error, after which the process goes on.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from prometheus_client import mmap_dict, values

# The client is hardly typed, and has no setting for what holds its values.
_VALUES: Final[Any] = values
_MAPPED: Final[Any] = mmap_dict.MmapedDict
_FIRST_BYTES: Final = 1 << 16
# Of an entry beside its name: its length, what aligns it, a value and a time.
_ENTRY_BYTES: Final = 4 + 8 + 16


def write_metrics() -> None:
    """Have the Prometheus client use these files, from the first value on."""
    _VALUES.MmapedDict = MetricsFile


class WrittenBytes(bytearray):
    """Bytes in memory, in place of a mapping, each change of which is written to a file at once.

    A change for which the disk has no room is written with the next one; until then the file stays as it is.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(_FIRST_BYTES)
        self._path = path
        self._descriptor = -1
        with suppress(OSError):
            # Of an earlier process of the same number.
            found = path.read_bytes()
            self[:] = found + bytes(max(0, _FIRST_BYTES - len(found)))

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(place, value)
        try:
            if self._descriptor < 0:
                self._write_all()
            else:
                _write(self._descriptor, value, place.start)
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file, as a mapping is closed; the next change writes all of it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _write_all(self) -> None:
        """Replace the file at once: a reader finds the old one or the new one, and no half of one."""
        new = self._path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, self, 0)
            new.replace(self._path)
        except OSError:
            os.close(descriptor)
            new.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor


class MetricsFile(_MAPPED):  # type: ignore[misc]  # as above
    """What the client keeps in a mapped file, in one that is written."""

    def __init__(self, filename: str) -> None:
        self._m = WrittenBytes(Path(filename))
        self._capacity = len(self._m)
        self._used = int.from_bytes(self._m[:4], "little")
        self._positions = {}
        if self._used:
            self._positions = {key: place for key, _, _, place in self._read_all_values()}
        else:
            self._used = 8
            self._m[0:4] = self._used.to_bytes(4, "little")

    def close(self) -> None:
        self._m.close()

    def _init_value(self, key: str) -> None:
        while self._used + len(key.encode()) + _ENTRY_BYTES > self._capacity:
            self._m.extend(bytes(self._capacity))
            self._capacity *= 2
        super()._init_value(key)


def _write(descriptor: int, value: bytes | bytearray, place: int) -> None:
    if os.pwrite(descriptor, value, place) < len(value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
