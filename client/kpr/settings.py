"""Where the server, the environment and names come from: options, variables, `.kpr.toml`, the last sign-in.

A project file is safe to commit and safe to find: it never holds a token, and a token goes only to the
server that it was given for (credentials.py).
"""

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kpr.errors import UsageError

PROJECT_FILE = ".kpr.toml"
_TEXTS = ("server", "environment", "prefix", "name_transformer")
_SWITCHES = ("strict", "strip_prefix")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Project:
    """What a project file holds, and where it is."""

    path: Path | None = None
    server: str = ""
    environment: str = ""
    prefix: str = ""
    name_transformer: str = ""
    strict: bool = False
    strip_prefix: bool = False
    offline_hours: int = 0
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What a command works with."""

    server: str
    # Whether the person named the server, and not a file that they found with a project.
    is_server_explicit: bool
    environment: str
    prefix: str
    project: Project = field(default_factory=Project)
    # How old an offline copy may be, as far as the server allows; 0: none is kept.
    offline_hours: int = 0
    # Further prefixes of the same command.
    more_prefixes: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All prefixes; none where every name is meant."""
        return (self.prefix, *self.more_prefixes) if self.prefix else ()

    def each_prefix(self) -> "list[Settings]":
        """Return the settings with one prefix each, or with none."""
        return [replace(self, prefix=each, more_prefixes=()) for each in self.prefixes or ("",)]

    def required_environment(self) -> str:
        """Return the environment. Raises UsageError if there is none."""
        if not self.environment:
            raise UsageError("No environment: give -e NAME, set KPR_ENVIRONMENT, or run kpr init.")
        return self.environment


def resolve(options: Any, variables: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: an option wins over a variable, that over the project, that over the sign-in.

    Raises UsageError if there is no server, or if a file cannot be used.
    """
    project = load_project(_working_folder())
    explicit = getattr(options, "server", "") or variables.get("KPR_SERVER", "")
    server = explicit or project.server or default_server(variables)
    if not server:
        raise UsageError("No server: give --server URL, set KPR_SERVER, or run kpr init.")
    prefix, *more = _prefixes(getattr(options, "prefix", None), variables.get("KPR_PREFIX"), project.prefix)
    return Settings(
        server=normal_server(server),
        is_server_explicit=bool(explicit),
        environment=getattr(options, "environment", "")
        or variables.get("KPR_ENVIRONMENT", "")
        or project.environment,
        prefix=prefix,
        more_prefixes=tuple(more),
        project=project,
        offline_hours=_hours(variables.get("KPR_OFFLINE_HOURS", "")) or project.offline_hours,
    )


def normal_server(text: str) -> str:
    """Return the address of a server in its one spelling: without a `/` at its end.

    Raises UsageError if it is no HTTPS address; HTTP serves on the loopback address alone.
    """
    parts = urlsplit(text if "//" in text else f"https://{text}")
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not host or parts.username or parts.query or parts.fragment:
        raise UsageError("The server is an address such as https://keeper.example.com.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise UsageError("Use https: a token is not sent over plain HTTP, except to this machine.")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def home_folder() -> Path:
    """Return the home folder; the root, as container engines set it, for an account that has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def config_folder(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of kpr's own files."""
    return Path(variables.get("XDG_CONFIG_HOME") or home_folder() / ".config") / "kpr"


def is_there(path: Path) -> bool:
    """Return whether a path exists; one in a folder that cannot be entered does not."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def cache_folder(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of encrypted copies."""
    return Path(variables.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "kpr"


def default_server(variables: Mapping[str, str] = os.environ) -> str:
    """Return the server of the last sign-in, or nothing."""
    try:
        return (config_folder(variables) / "server").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def load_project(start: Path) -> Project:
    """Return the nearest project file at or above a folder, at most up to its repository or the home folder.

    A folder that cannot be entered is passed over. Raises UsageError if the file cannot be read, or if
    another account could have written it.
    """
    for folder in (start, *start.parents):
        path = folder / PROJECT_FILE
        if is_there(path) and path.is_file():
            _require_own(path)
            return _parsed(path)
        if is_there(folder / ".git") or folder == home_folder():
            break
    return Project()


def write_project(path: Path, values: Mapping[str, Any]) -> None:
    """Write a project file. Raises FileExistsError if there is one."""
    lines = ["# Settings of kpr (docs/kpr.md of Keeper). Safe to commit: it holds no secret.\n"]
    lines += [f"{name} = {_toml(value)}\n" for name, value in values.items()]
    with path.open("x", encoding="utf-8") as file:
        file.writelines(lines)


def _working_folder() -> Path:
    """Return the working folder; the root where it is gone, which holds no project."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/")


def _prefixes(options: "list[str] | None", variable: "str | None", project: str) -> list[str]:
    """Return the prefixes of the first place that names any; an empty one is every name."""
    given = options if options is not None else [project if variable is None else variable]
    cleaned = list(dict.fromkeys(each.strip("/") for each in given))
    return cleaned if all(cleaned) else [""]


def _hours(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise UsageError("KPR_OFFLINE_HOURS is a number of hours.")
    return int(text or 0)


def _require_own(path: Path) -> None:
    facts = path.stat()
    mine = hasattr(os, "getuid") and facts.st_uid in {os.getuid(), 0}
    if hasattr(os, "getuid") and (not mine or facts.st_mode & stat.S_IWOTH):
        raise UsageError(f"{path} can be written by another account: change its owner and mode first.")


def _parsed(path: Path) -> Project:
    loads: Callable[[str], dict[str, Any]] = simple_toml
    with suppress(ImportError):
        if sys.version_info >= (3, 11):
            import tomllib  # noqa: PLC0415 - only where there is a project file
        else:
            import tomli as tomllib  # noqa: PLC0415 - only where there is a project file
        loads = tomllib.loads
    try:
        values = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return _project(path, values)


def simple_toml(text: str) -> dict[str, Any]:
    """Return what a project file holds as `kpr init` writes it, for Python 3.10 without the package tomli.

    Raises ValueError for other TOML.
    """
    values: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"\s*([A-Za-z0-9_-]+)\s*=\s*(.+)", line)
        try:
            if found and found[1] not in values:
                # The texts, numbers, true, false and lists of such a file are those of JSON.
                values[found[1]], end = json.JSONDecoder().raw_decode(found[2])
                rest = found[2][end:].strip()
            else:
                rest = line.strip()
        except ValueError:
            rest = line
        if rest and not rest.startswith("#"):
            raise ValueError(f"line {number} needs the package tomli on Python 3.10")
    return values


def _project(path: Path, values: dict[str, Any]) -> Project:
    unknown = values.keys() - {*_TEXTS, *_SWITCHES, "required", "offline_hours"}
    if unknown:
        raise UsageError(f"{path}: unknown setting {min(unknown)}.")
    for name in _TEXTS:
        if not isinstance(values.get(name, ""), str):
            raise UsageError(f"{path}: {name} is a text.")
    required = values.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise UsageError(f"{path}: required is a list of names.")
    hours = values.get("offline_hours", 0)
    if not isinstance(hours, int) or isinstance(hours, bool) or hours < 0:
        raise UsageError(f"{path}: offline_hours is a number of hours.")
    for name in _SWITCHES:
        if not isinstance(values.get(name, False), bool):
            raise UsageError(f"{path}: {name} is true or false.")
    return Project(**{**values, "path": path, "required": tuple(required)})


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    # Names, prefixes and addresses; what a basic string needs escaped is escaped as in JSON.
    escaped = re.sub(r'["\\\x00-\x1f]', lambda found: f"\\u{ord(found[0]):04x}", value)
    return f'"{escaped}"'
