"""Encrypts a stream of any length in chunks of AES-256-GCM, after STREAM (Hoang et al., CRYPTO 2015).

    nonce = counter 11, big endian | 1 for the last chunk, else 0
    chunk = AES-256-GCM(up to 64 KiB)                only the last one is shorter

A chunk that is missing, swapped, repeated or cut off does not open, and neither does a stream without
its last one. A key serves one stream only.
"""

import io
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keeper_project.backup.errors import Altered, Truncated

CHUNK: Final = 64 * 1024
_TAG: Final = 16
_COUNTER_BYTES: Final = 11


class ChunkWriter(io.RawIOBase):
    """Takes plain bytes and writes sealed chunks; `finish` writes the last one."""

    def __init__(self, target: BinaryIO, key: bytes) -> None:
        self._target = target
        self._cipher = AESGCM(key)
        self._counter = 0
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        """Take bytes; whatever fills a chunk is sealed and written."""
        taken = bytes(memoryview(data))  # type: ignore[arg-type]  # anything with a buffer
        self._pending += taken
        # A full chunk waits until more comes: it could be the last one.
        while len(self._pending) > CHUNK:
            self._seal(bytes(self._pending[:CHUNK]), last=False)
            del self._pending[:CHUNK]
        return len(taken)

    def finish(self) -> None:
        """Write the last chunk; without it the stream cannot be opened."""
        self._seal(bytes(self._pending), last=True)
        self._pending.clear()

    def _seal(self, plain: bytes, *, last: bool) -> None:
        self._target.write(self._cipher.encrypt(_nonce(self._counter, last=last), plain, None))
        self._counter += 1


class ChunkReader(io.RawIOBase):
    """Gives the plain bytes of `size` bytes of sealed chunks.

    Reading raises Altered if a chunk does not open, Truncated if the stream ends before its last one.
    """

    def __init__(self, source: BinaryIO, key: bytes, *, size: int) -> None:
        self._source = source
        self._cipher = AESGCM(key)
        self._left = size
        self._counter = 0
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with plain bytes; 0 at the end."""
        target = memoryview(buffer)  # type: ignore[arg-type]  # anything with a buffer
        while not self._plain and self._left:
            self._plain = memoryview(self._opened())
        taken = min(len(target), len(self._plain))
        target[:taken] = self._plain[:taken]
        self._plain = self._plain[taken:]
        return taken

    def _opened(self) -> bytes:
        size = min(CHUNK + _TAG, self._left)
        chunk = self._source.read(size)
        if len(chunk) < size or size < _TAG:
            raise Truncated("the backup ends too early: the file was cut off")
        self._left -= size
        try:
            plain = self._cipher.decrypt(_nonce(self._counter, last=not self._left), chunk, None)
        except InvalidTag as error:
            raise Altered(
                f"part {self._counter + 1} of the backup does not open: the file was edited, cut off, "
                "or put together from several"
            ) from error
        self._counter += 1
        return plain


def _nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(_COUNTER_BYTES, "big") + (b"\x01" if last else b"\x00")
