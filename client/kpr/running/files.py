"""Secrets as files: in memory where the kernel has that, else in a private folder of a RAM disk."""

import os
from contextlib import suppress
from pathlib import Path

from kpr.errors import UsageError

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def file_in_memory(variable: str, content: bytes) -> tuple[str, int]:
    """Return the path and the handle of a sealed file in memory, which has no name on a disk.

    The command keeps this process's id, so that its children can open the path as well. The file is gone
    when the last process that holds it ends. Raises OSError if there is no room.
    """
    import fcntl  # noqa: PLC0415 - only where there are files

    handle = os.memfd_create(f"kpr-{variable}", os.MFD_ALLOW_SEALING)
    with open(handle, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(handle, 0, os.SEEK_SET)
    os.fchmod(handle, 0o400)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
    return f"/proc/{os.getpid()}/fd/{handle}", handle


def is_memory_available() -> bool:
    """Return whether files can be kept in memory without a name."""
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


class PrivateFolder:
    """A folder of mode 0700 below another one, removed with all its files when the block ends."""

    def __init__(self, parent: str, *, allows_disk: bool) -> None:
        import tempfile  # noqa: PLC0415 - only where there are such files, as it is slow to load

        self._parent = Path(parent or os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()).resolve()
        if not self._parent.is_dir():
            raise UsageError(f"{self._parent} is no folder.")
        if not allows_disk and not _is_in_memory(self._parent):
            raise UsageError(
                f"{self._parent} is on a disk: choose a RAM disk by --file-dir, or add --allow-disk."
            )
        self._path: Path | None = None

    def __enter__(self) -> "PrivateFolder":  # noqa: PYI034 - Python 3.10 has no Self
        import tempfile  # noqa: PLC0415 - as above

        self._path = Path(tempfile.mkdtemp(prefix="kpr-", dir=self._parent))
        return self

    def __exit__(self, *_: object) -> None:
        import shutil  # noqa: PLC0415 - as above

        if self._path is not None:
            with suppress(FileNotFoundError):
                shutil.rmtree(self._path)

    def write(self, variable: str, content: bytes) -> str:
        if self._path is None:
            raise RuntimeError("The folder is not open.")
        path = self._path / variable
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return str(path)


def _is_in_memory(folder: Path) -> bool:
    """Return whether a folder is on a RAM disk, as far as /proc/mounts shows."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    mounts = {line.split(" ")[1]: line.split(" ")[2] for line in lines}
    nearest = next((str(each) for each in (folder, *folder.parents) if str(each) in mounts), "")
    return mounts.get(nearest) in _IN_MEMORY
