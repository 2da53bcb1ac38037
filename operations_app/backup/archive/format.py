"""The file of a backup: its layout, its chunks, and the two proofs that it is whole.

The proofs are the chunks and the signature:

    file      = "KPRBKUP1" | u32 length | manifest (canonical JSON) | chunks | signature
    payload   = gzip of lines of JSON (rows.py)
    key       = HKDF-SHA256(file key, salt = SHA-256(all before the chunks), "keeper/v1/backup")
    signature = the keyring's tag over "keeper/v1/backup" | SHA-256(all before the signature)

The file key is made by the installation's key provider for this one file. A replaced manifest gives another
salt, and so a key that opens nothing.

A stream of any length is encrypted in chunks, after STREAM (Hoang et al., CRYPTO 2015):

    nonce = counter 11, big endian | 1 for the last chunk, else 0
    chunk = AES-256-GCM(up to 64 KiB)                only the last one is shorter

A chunk that is missing, swapped, repeated or cut off does not open, and neither does a stream without its
last one. A key serves one stream only.
"""

import fcntl
import gzip
import hashlib
import io
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from tempfile import mkdtemp, mkstemp
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit_app.interfaces import Purpose, keyring
from audit_app.models import MAC_LENGTH
from operations_app.backup.archive.manifest import Manifest
from operations_app.backup.errors import Altered, Malformed, Truncated, Unwritable

CHUNK: Final = 64 * 1024
_TAG: Final = 16
_COUNTER_BYTES: Final = 11


class ChunkWriter(io.RawIOBase):
    """Takes plain bytes and writes sealed chunks; `finish` writes the last one."""

    def __init__(
        self, target: BinaryIO, key: bytes, cipher: type[AESGCM | ChaCha20Poly1305] = AESGCM
    ) -> None:
        self._target = target
        self._cipher = cipher(key)
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


_MAGIC: Final = b"KPRBKUP1"
_LABEL: Final = b"keeper/v1/backup"
_LENGTH_BYTES: Final = 4
# Some thousand streams and keys; a length beyond is no manifest.
_MANIFEST_LIMIT: Final = 64 * 1024 * 1024
_BLOCK: Final = 1024 * 1024
_PARTIAL: Final = ".partial"
_YOUNG_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that is safely on disk."""

    path: Path
    digest: str
    size: int


class _Hashing:
    """Writes to a file, counting and hashing what passes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.file.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)


class BackupWriter:
    """A backup's file while it is written; `payload` takes the lines."""

    def __init__(self, path: Path, file: BinaryIO, manifest: Manifest, file_key: bytes) -> None:
        self._path = path
        self._out = _Hashing(file)
        content = manifest.to_bytes()
        head = _MAGIC + len(content).to_bytes(_LENGTH_BYTES, "big") + content
        self._out.write(head)
        self._chunks = ChunkWriter(self._out, _stream_key(file_key, head))  # type: ignore[arg-type]  # it writes
        self.payload = gzip.GzipFile(fileobj=self._chunks, mode="wb", compresslevel=1, mtime=0)

    def finish(self) -> Written:
        self.payload.close()
        self._chunks.finish()
        digest = self._out.hash.digest()
        self._out.write(keyring().mac(Purpose.AUDIT_MAC, _LABEL + digest))
        return Written(path=self._path, digest=self._out.hash.hexdigest(), size=self._out.size)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that appears under its name when all of it is on disk, and not at all else.

    Raises Unwritable if the folder does not take it, or holds a file of this name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            raise Unwritable(f"{path} exists: Keeper never replaces a file")
        remove_unfinished(path.parent, escape(path.name))
        # Fresh and for this account alone: another account may have written to the folder before.
        descriptor, draft = mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # As long as it is locked its writer lives.
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.link(draft, path)
                if not os.path.samestat(os.fstat(file.fileno()), path.lstat()):
                    raise Unwritable(f"{path} is not what Keeper wrote: another account uses the folder")
        finally:
            Path(draft).unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise Unwritable(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def unfinished_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a folder that goes with the block; should its writer be killed, with the next one of this name."""
    remove_unfinished(parent, escape(name))
    draft = Path(mkdtemp(prefix=f".{name}.", suffix=_PARTIAL, dir=parent))
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        # As long as it is locked its writer lives.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield draft
    finally:
        os.close(descriptor)
        shutil.rmtree(draft, ignore_errors=True)


def remove_unfinished(folder: Path, name: str = "keeper-*") -> int:
    """Remove what killed writers of files or folders of a name left, and return how many there were."""
    removed = 0
    for draft in folder.glob(f".{name}.*{_PARTIAL[1:]}"):
        with suppress(OSError):
            # Another account may have put anything there: no link is followed, no pipe waited for.
            descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found = os.fstat(descriptor)
                # A writer that has just opened it is about to lock it.
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _YOUNG_SECONDS:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(draft) if stat.S_ISDIR(found.st_mode) else draft.unlink()
                    removed += 1
            finally:
                os.close(descriptor)
    return removed


class BackupFile:
    """A backup's file while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        begin = file.read(len(_MAGIC) + _LENGTH_BYTES)
        if begin[: len(_MAGIC)] != _MAGIC or len(begin) < len(_MAGIC) + _LENGTH_BYTES:
            raise Malformed("the file is not a Keeper backup")
        length = int.from_bytes(begin[len(_MAGIC) :], "big")
        if length > min(_MANIFEST_LIMIT, self._size):
            raise Truncated("the backup is incomplete: the file was cut off or edited")
        content = file.read(length)
        if len(content) < length:
            raise Truncated("the backup is incomplete: the file was cut off")
        self._head = begin + content
        self.manifest = Manifest.from_bytes(content)

    def lines(self, file_key: bytes) -> Iterator[bytes]:
        """Yield the lines of the payload. Raises Truncated or Altered as soon as one is not genuine."""
        size = self._size - len(self._head) - MAC_LENGTH
        if size <= 0:
            raise Truncated("the backup ends after its manifest: the file was cut off")
        self._file.seek(len(self._head))
        chunks = ChunkReader(self._file, _stream_key(file_key, self._head), size=size)
        with io.BufferedReader(chunks, _BLOCK) as buffered:
            try:
                yield from gzip.GzipFile(fileobj=buffered)
            except (EOFError, gzip.BadGzipFile) as error:
                # Genuine chunks that are no whole gzip: Keeper does not write such a file.
                raise Altered("the content of the backup is not whole") from error

    def digest(self) -> tuple[str, bytes]:
        """Return the SHA-256 of the whole file, and what the signature has to be of."""
        self._file.seek(0)
        hashed, left = hashlib.sha256(), self._size - MAC_LENGTH
        while left > 0 and (block := self._file.read(min(_BLOCK, left))):
            hashed.update(block)
            left -= len(block)
        signed = _LABEL + hashed.digest()
        hashed.update(self._file.read(MAC_LENGTH))
        return hashed.hexdigest(), signed

    def require_signature(self) -> str:
        """Return the file's SHA-256, in hexadecimal. Raises Altered unless Keeper's key signed the file.

        The keyring must be that of the backup's deployment.
        """
        digest, signed = self.digest()
        self._file.seek(self._size - MAC_LENGTH)
        if not keyring().verify(Purpose.AUDIT_MAC, signed, self._file.read(MAC_LENGTH)):
            raise Altered("the signature of the backup is not that of its installation")
        return digest


@contextmanager
def open_backup(path: Path) -> Iterator[BackupFile]:
    """Open a backup's file and read its manifest.

    Raises Malformed if it is none, Truncated if it ends within its manifest, Unwritable if it cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise Unwritable(f"{path} cannot be read: {error.strerror}") from error
    with file:
        # GzipFile closes nothing that it was given, BufferedReader closes its source: not this file.
        yield BackupFile(file)


def _stream_key(file_key: bytes, head: bytes) -> bytes:
    salt = hashlib.sha256(head).digest()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=_LABEL).derive(file_key)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
