"""Reads environment variables as they are written, `$` included."""

import os
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import environ
from environ.fileaware_mapping import FileAwareMapping

from core.errors import KeeperError

# What `hold` keeps in memory until `store_held`: None while files are made at once.
_held: dict[Path, str] | None = None
_RANDOM_BYTES: Final = 48


class MadeMeanwhile(KeeperError):
    """Another process made a secret file while this one held its own back."""


def hold() -> None:
    """Make no file from now on: what is missing is kept in memory until `store_held`."""
    global _held  # noqa: PLW0603 - settings are loaded once a process
    _held = {}


def holds_back() -> bool:
    """Return whether nothing may be created yet."""
    return _held is not None


def store_held() -> None:
    """Make the files that were held back. Raises MadeMeanwhile if another process made one, OSError."""
    global _held
    held, _held = _held or {}, None
    for path, text in held.items():
        if _create(path, text) != text:
            raise MadeMeanwhile(f"another process made {path.name} at this moment: run the command again")


def read_or_create(path: Path) -> str:
    """Return the text of a secret file, made on first use with 384 random bits and mode 0600.

    Safe when several processes start at once: the file appears whole or not at all, and the
    first one wins. Raises OSError if the directory cannot be written.
    """
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    text = secrets.token_urlsafe(_RANDOM_BYTES)
    if _held is not None:
        return _held.setdefault(path, text)
    return _create(path, text)


def _create(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text(encoding="ascii").strip()


class _EscapedEnviron(FileAwareMapping):  # type: ignore[misc]  # untyped base
    """The environment with each `$` escaped, which django-environ then undoes."""

    def __getitem__(self, key: str) -> str:
        return str(super().__getitem__(key)).replace("$", r"\$")


class Source(StrEnum):
    """Where a setting has its value from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"


class LiteralEnv(environ.FileAwareEnv):  # type: ignore[misc]  # untyped base
    """An Env for which a value that starts with `$` is a value.

    django-environ reads it as the name of another variable, but a password may well start so.
    `NAME_FILE` still names a file that holds the value of NAME.
    """

    ENVIRON = _EscapedEnviron()

    def __init__(self) -> None:
        super().__init__()
        self.escape_proxy = True
        # The variables that were asked for, in that order; never their values.
        self.sources: dict[str, Source] = {}

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        """Return the value of a variable, and remember where it came from."""
        self.sources[var] = _source(var)
        return super().get_value(var, *args, **kwargs)


def _source(name: str) -> Source:
    if f"{name}_FILE" in os.environ:
        return Source.FILE
    return Source.ENVIRONMENT if name in os.environ else Source.DEFAULT
