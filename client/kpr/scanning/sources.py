"""What is scanned: files and folders that are named, those of a Git repository, or what is staged in it."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from kpr.errors import UsageError

_MAX_BYTES = 5 * 1024 * 1024
_BINARY_SAMPLE = 8192
_SECONDS = 120


def staged() -> Iterator[tuple[str, bytes]]:
    """Yield path and content of what is staged. Raises UsageError outside a repository."""
    for path in _git("diff", "--cached", "--name-only", "--no-renames", "-z", "--diff-filter=ACMT"):
        yield path, _run_git("show", f":{path}")


def files(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of files; without paths those of the repository that Git does not ignore.

    Raises UsageError if a named file cannot be read.
    """
    if not paths:
        root = _run_git("rev-parse", "--show-toplevel").decode().strip()
        listed = _git("-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        paths = [str(Path(root) / path) for path in listed if (Path(root) / path).is_file()]
    for name in paths:
        for path in _below(Path(name)):
            yield str(path), _content(path)


def is_scanned(content: bytes) -> bool:
    """Return whether a file is text of a size that is scanned."""
    return len(content) <= _MAX_BYTES and b"\0" not in content[:_BINARY_SAMPLE]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for each in sorted(path.rglob("*")):
        if each.is_file() and not each.is_symlink() and ".git" not in each.relative_to(path).parts:
            yield each


def _git(*arguments: str) -> list[str]:
    listed = _run_git(*arguments).decode("utf-8", "surrogateescape")
    return [path for path in listed.split("\0") if path]


def _run_git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
    except FileNotFoundError:
        raise UsageError("Git is not installed: name the files to scan.") from None
    except subprocess.CalledProcessError:
        raise UsageError("This is no Git repository: name the files to scan.") from None
    return done.stdout
