"""Environment variables: read as they are written, and declared with name, type, default, unit and help.

A value is read with its `$` included. Each variable is declared in one place. `.env.example` and the tables
of docs/configuration.md are generated from these declarations (`python -m tools.configuration_reference`).
"""

import json
import math
import os
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from core.errors import KeeperError

# What `hold` keeps in memory until `store_held`: None while files are made at once.
_held: dict[Path, str] | None = None
_RANDOM_BYTES: Final = 48
_TRUE: Final = frozenset({"true", "on", "ok", "y", "yes"})
_LINE: Final = re.compile(r"""(?:export )?(\w+)=(?:'(.*)'|"(.*)"|(.*))\Z""", re.ASCII)


class UnreadableVariable(ImproperlyConfigured):
    """A variable holds something of another kind; the message never repeats it, as it may be a secret."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name}: Keeper cannot read its value. Set {expected}.")


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


class Source(StrEnum):
    """Where a setting has its value from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"


# Where each variable that was asked for has its value from, in that order; never the values.
SOURCES: Final[dict[str, Source]] = {}


def read(name: str, default: str) -> str:
    """Return the value of a variable, or what is in the file that NAME_FILE names.

    Raises ImproperlyConfigured.
    """
    if file := os.environ.get(f"{name}_FILE"):
        SOURCES[name] = Source.FILE
        return _text_of(Path(file), f"{name}_FILE")
    SOURCES[name] = Source.ENVIRONMENT if name in os.environ else Source.DEFAULT
    return os.environ.get(name, default)


def load_file(path: Path) -> None:
    """Set the variables of a file of lines NAME=VALUE, in quotes or not, that are not set yet."""
    for line in _text_of(path, "The environment file").splitlines() if path.is_file() else ():
        if match := _LINE.match(line):
            name, single, double, plain = match.groups()
            os.environ.setdefault(name, single or plain or re.sub(r"\\([^nrt])", r"\1", double or ""))


def _text_of(path: Path, what: str) -> str:
    """Return the text of a file. Raises ImproperlyConfigured, which holds nothing of what is in the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        why = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        why = "it is no text in UTF-8"
    raise ImproperlyConfigured(f"{what}: {path} cannot be read: {why}.")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One environment variable. `default` is as it is written in the environment.

    `unset` describes what applies if the variable is not set, if that is not simply the default. `example` is
    what `.env.example` shows in place of the default.
    """

    name: str
    kind: str
    help: str
    default: str = ""
    unset: str = ""
    example: str = ""


@dataclass
class Group:
    """Variables of one subject. `page` is the document that explains the subject, within docs/."""

    title: str
    page: str = ""
    variables: list[Variable] = field(default_factory=list)

    def __post_init__(self) -> None:
        GROUPS.append(self)

    def text(self, name: str, default: str = "", *, help: str, unset: str = "", example: str = "") -> str:
        self._declare(name, "text", default, help=help, unset=unset, example=example)
        return read(name, default)

    def whole(self, name: str, default: int, *, unit: str, help: str) -> int:
        """Declare and read a whole number of `unit`. Raises UnreadableVariable for anything else."""
        self._declare(name, unit, str(default), help=help)
        return _whole(name, read(name, str(default)), unit)

    def whole_or_none(self, name: str, default: int, *, unit: str, help: str) -> int | None:
        """Declare and read a whole number, None if it is empty. Raises UnreadableVariable."""
        self._declare(name, unit, str(default), help=help)
        text = read(name, str(default))
        return _whole(name, text, f"{unit}, or nothing") if text else None

    def decimal(self, name: str, default: float, *, unit: str, help: str) -> float:
        """Declare and read a number of `unit`. Raises UnreadableVariable unless it is finite."""
        self._declare(name, unit, f"{default:g}", help=help)
        expected = f"a number with a point for its fraction ({unit})"
        try:
            number = float(read(name, str(default)))
        except ValueError:
            raise UnreadableVariable(name, expected) from None
        if not math.isfinite(number):
            raise UnreadableVariable(name, expected)
        return number

    def switch(self, name: str, *, default: bool, help: str, unset: str = "", example: str = "") -> bool:
        self._declare(name, "true or false", str(default).lower(), help=help, unset=unset, example=example)
        text = read(name, str(default)).strip().lower()
        return int(text) != 0 if text.isdecimal() else text in _TRUE

    def several(self, name: str, default: tuple[str, ...] = (), *, help: str, unset: str = "") -> list[str]:
        """Declare and read texts that commas separate."""
        self._declare(name, "list", ",".join(default), help=help, unset=unset)
        return [each for each in read(name, ",".join(default)).split(",") if each]

    def mapping(self, name: str, *, help: str, example: str) -> Any:
        """Declare a JSON object, and read any JSON, which a check judges. Raises UnreadableVariable."""
        self._declare(name, "JSON object", "", help=help, unset="none", example=example)
        try:
            return json.loads(read(name, "{}"))
        except ValueError:
            raise UnreadableVariable(name, "a JSON object") from None

    def _declare(
        self, name: str, kind: str, default: str, *, help: str, unset: str = "", example: str = ""
    ) -> None:
        variable = Variable(name=name, kind=kind, help=help, default=default, unset=unset, example=example)
        self.variables.append(variable)


def _whole(name: str, text: str, unit: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UnreadableVariable(name, f"a whole number ({unit})") from None


# In the order of their declaration.
GROUPS: Final[list[Group]] = []
