"""A rotating log file that several processes may write at once."""

import fcntl
import logging
import os
import sys
import time
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

# How often a full disk is reported.
_EVERY_SECONDS: Final = 60.0


class SharedRotatingFileHandler(RotatingFileHandler):
    """Rotates once, whichever process finds the file full.

    The standard handler rotates per process: the second one would move the fresh file away
    and lose a generation. This one holds a lock while it rotates, and follows the file when
    another process has rotated it. The file is readable by its owner only.
    """

    def __init__(self, path: str, *, max_bytes: int, backups: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", delay=True)
        self._report_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.stream is not None and self._moved_away():
                self._reopen()
        except OSError:
            self.handleError(record)
        else:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Report one line a minute that the file takes none; the console has all of them.

        The file is opened again for the next line: what it could not write would come before each later one.
        """
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        with suppress(OSError):
            if time.monotonic() >= self._report_at:
                self._report_at = time.monotonic() + _EVERY_SECONDS
                sys.stderr.write(f"keeper: {self.baseFilename} takes no lines: {error.strerror}.\n")

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the standard library's name
        """Return whether a record is too much for the file, with what other processes have written to it."""
        # Since Python 3.13 the standard handler asks its own position alone.
        if self.stream is not None:
            self.stream.seek(0, os.SEEK_END)
        return bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802 - the standard library's name
        """Rotate, unless another process just did."""
        with Path(f"{self.baseFilename}.lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._moved_away():
                self._reopen()
            else:
                super().doRollover()

    def _open(self) -> TextIOWrapper:
        # With the first line: a command that writes none leaves no folder.
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.baseFilename, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        stream = os.fdopen(descriptor, "a", encoding="utf-8")
        written = os.fstat(descriptor).st_size
        if written and os.pread(descriptor, 1, written - 1) != b"\n":
            # A full disk took a part of the last line.
            stream.write("\n")
        return stream

    def _moved_away(self) -> bool:
        try:
            named = Path(self.baseFilename).stat()
        except FileNotFoundError:
            return True
        return self.stream is None or not os.path.samestat(named, os.fstat(self.stream.fileno()))

    def _reopen(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()
        self.stream = self._open()
