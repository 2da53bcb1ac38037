"""`kpr template`: a file with the values of the secrets that it names, and nothing that is executed.

`{{ keeper "NAME" }}` is the value, `{{ keeper "NAME" | json }}` the value in that notation. Everything else
stays as it is, so that templates of other programs pass through.
"""

import base64
import json
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from kpr.api import Api, path_of
from kpr.cli.output import print_result
from kpr.errors import NamesError, NotFoundError, UsageError
from kpr.running.run import find_value
from kpr.settings import Settings
from kpr.signin.credentials import write_private

# Each makes text that holds the value whole, whatever is in it.
NOTATIONS: Mapping[str, Callable[[str], str]] = {
    # Also a string of YAML.
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "base64": lambda value: base64.b64encode(value.encode()).decode("ascii"),
    "shell": shlex.quote,
    "url": lambda value: quote(value, safe=""),
}
_BEGIN = re.compile(r"\{\{-?\s*keeper\b")
_PLACE = re.compile(r"\{\{\s*keeper\s+\"([^\"\\\s{}]+)\"\s*(?:\|\s*([a-z0-9]+)\s*)?\}\}")


def template(options: Namespace, settings: Settings, api: Api) -> int:
    """Render a template into a file of mode 0600, or to standard output. Raises KprError."""
    if not options.output and sys.stdout.isatty() and not options.reveal:
        raise UsageError("This prints values: write a file by --output, or add --reveal.")
    text = _read(options.path)
    names = names_of(text)
    values = _values(names, options, settings, api)
    content = render(text, values).encode()
    if not options.output:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return 0
    _write(Path(options.output), content)
    told = {"path": options.output, "secrets": len(names)}
    return print_result(options, told, f"Wrote {options.output} with {len(names)} secrets, mode 0600.")


def names_of(text: str) -> list[str]:
    """Return the names in a template, each once. Raises UsageError for a place that is not well-formed."""
    places = {found.start(): found for found in _PLACE.finditer(text)}
    for found in _BEGIN.finditer(text):
        place = places.get(found.start())
        if place is None or (place[2] and place[2] not in NOTATIONS):
            line = text.count("\n", 0, found.start()) + 1
            forms = ", ".join(NOTATIONS)
            raise UsageError(
                f'Line {line}: write {{{{ keeper "NAME" }}}}, or | and one of {forms} behind the name.'
            )
    return list(dict.fromkeys(place[1] for place in places.values()))


def render(text: str, values: Mapping[str, str]) -> str:
    """Return the template with the values. They are not looked through for places again."""

    def value(place: re.Match[str]) -> str:
        notation = NOTATIONS[place[2]] if place[2] else str
        return notation(values[place[1]])

    return _PLACE.sub(value, text)


def _values(names: list[str], options: Namespace, settings: Settings, api: Api) -> dict[str, str]:
    """Return the values of names; a missing one is empty where that is allowed. Raises KprError."""
    values, missing = dict[str, str](), list[str]()
    for name in names:
        value = _value(name, settings, api)
        if value is None:
            missing.append(name)
        else:
            values[name] = value
    if not missing:
        return values
    if not options.allow_missing:
        raise NamesError(
            f"Not found, or not visible: {', '.join(missing)}. Create them, or add --allow-missing."
        )
    # Where the environment itself cannot be seen, nothing is merely missing.
    api.get(path_of("environments", settings.required_environment(), "manifest"))
    for name in missing:
        sys.stderr.write(f"kpr: {name} is not there and left empty\n")
    return {**values, **dict.fromkeys(missing, "")}


def _value(name: str, settings: Settings, api: Api) -> str | None:
    try:
        return find_value(settings, api, name)
    except NotFoundError:
        return None


def _read(path: str) -> str:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return content.decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8.") from None


def _write(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder.")
    try:
        write_private(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
