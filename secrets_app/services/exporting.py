"""Exports: JSON, dotenv, YAML, CSV and a Secret of Kubernetes, and the names that each can hold.

The dotenv format has no standard. A value without special characters is not quoted, on which all readers
agree. Any other one is quoted such that a POSIX shell reads it exactly and runs nothing, and that as many
of the other readers as possible agree. The readers that would not read a value as it is are named.
"""

import csv
import io
import re
from abc import ABC, abstractmethod
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import compress, islice
from typing import Any, Final, NamedTuple

import orjson
import yaml
from rest_framework.renderers import BaseRenderer

from secrets_app.errors import InvalidInput
from secrets_app.services.read import ExportedValue

HEADER: Final = "Keeper-Misread"
_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
# What stays special between double quotes in a POSIX shell (XCU 2.2.3).
_SHELL_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "$": r"\$", "`": r"\`"})
# bufio.Scanner, by which Docker reads lines, takes no longer ones.
_DOCKER_LINE_BYTES: Final = 64 * 1024
_NAMES_PER_COMMENT: Final = 20
# Proxies refuse heads of a few KiB; the comments of the file name the rest.
_NAMES_PER_READER: Final = 10


class DotenvReader(StrEnum):
    """A program that reads dotenv files and does not take every value; shells do."""

    DOCKER = "docker"
    PYTHON = "python-dotenv"
    DOTENV = "dotenv"
    NODE = "node"


_PROGRAMS: Final = {
    DotenvReader.DOCKER: "docker run --env-file",
    DotenvReader.PYTHON: "python-dotenv",
    DotenvReader.DOTENV: "dotenv of Node.js",
    DotenvReader.NODE: "node --env-file",
}


class Misread(NamedTuple):
    """The variables that a reader takes for another value, and those after which it misreads the file."""

    alone: list[str]
    spoiling: list[str]


def dotenv_bytes(values: Mapping[str, str]) -> bytes:
    """Return the file: comments that name what is misread, then a line for each value."""
    comments = "".join(f"# {line}\n" for line in _comments(misread(values)))
    lines = "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())
    return (comments + lines).encode()


def misread(values: Mapping[str, str]) -> dict[DotenvReader, Misread]:
    """Return what each reader misreads; readers without a problem are omitted."""
    found = {reader: Misread([], []) for reader in DotenvReader}
    for name, value in values.items():
        for reader in _misreading(value):
            found[reader].alone.append(name)
        for reader in _spoilt(name, value):
            found[reader].spoiling.append(name)
    return {reader: names for reader, names in found.items() if any(names)}


def header(found: Mapping[DotenvReader, Misread]) -> str:
    """Return what is misread as a structured field (RFC 9651): reader=("NAME" "NAME");spoilt;more=3."""
    return ", ".join(_member(reader, names) for reader, names in found.items())


def _member(reader: DotenvReader, names: Misread) -> str:
    every = list(dict.fromkeys([*names.spoiling, *names.alone]))
    listed = " ".join(f'"{name}"' for name in every[:_NAMES_PER_READER])
    more = len(every) - _NAMES_PER_READER
    return f"{reader}=({listed}){';spoilt' if names.spoiling else ''}{f';more={more}' if more > 0 else ''}"


def _comments(found: Mapping[DotenvReader, Misread]) -> Iterator[str]:
    for reader, names in found.items():
        for some in _lines(names.spoiling):
            yield f"{_PROGRAMS[reader]} cannot read this file, because of: {some}"
        for some in _lines(names.alone):
            yield f"{_PROGRAMS[reader]} misreads: {some}"


def _lines(names: list[str]) -> Iterator[str]:
    for start in range(0, len(names), _NAMES_PER_COMMENT):
        yield ", ".join(islice(names, start, start + _NAMES_PER_COMMENT))


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    return f"'{value}'" if _is_single(value) else f'"{value.translate(_SHELL_ESCAPES)}"'


def _is_single(value: str) -> bool:
    """Return whether a value is in single quotes, where backslashes and $ are literal to most readers.

    A backslash at the end would escape the closing quote to python-dotenv: such a value is doubly quoted,
    unless it also holds what python-dotenv does not take between double quotes.
    """
    return "'" not in value and (not value.endswith("\\") or "$" in value or "`" in value)


def _misreading(value: str) -> Iterator[DotenvReader]:
    """Yield the readers that take a quoted value for another one."""
    if _BARE.fullmatch(value):
        return
    yield DotenvReader.DOCKER  # Quotes are a part of the value.
    single = _is_single(value)
    # Both read lines as if each ended in a line feed alone.
    carriage = "\r" in value
    # It fills in ${NAME} between any quotes, and knows no escape of $ and ` between double ones.
    if carriage or (("${" in value or "\\\\" in value) if single else ("$" in value or "`" in value)):
        yield DotenvReader.PYTHON
    # They know no escapes of a shell.
    if carriage or (not single and any(special in value for special in '\\"$`')):
        yield DotenvReader.DOTENV
        yield DotenvReader.NODE


def _spoilt(name: str, value: str) -> Iterator[DotenvReader]:
    """Yield the readers that lose the end of a value, and so read what follows wrongly."""
    if _BARE.fullmatch(value):
        if len(name) + 1 + len(value) >= _DOCKER_LINE_BYTES:
            yield DotenvReader.DOCKER
        return
    single = _is_single(value)
    if "\n" in value or len(f"{name}={_quoted(value)}".encode()) >= _DOCKER_LINE_BYTES:
        yield DotenvReader.DOCKER
    if value.endswith("\\"):
        yield DotenvReader.DOTENV
        if single:
            yield DotenvReader.PYTHON
    if not single and '"' in value and "\n" in value:
        yield DotenvReader.NODE


DOTENV: Final = "dotenv"
KUBERNETES: Final = "kubernetes"
_NOT_IN_VARIABLES: Final = re.compile(r"[^A-Za-z0-9_]")
# The keys of a Secret's data take letters, digits, `-`, `_` and `.`.
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9._-]")
# The API server refuses larger Secrets; names and Base64 count along.
_MAX_KUBERNETES: Final = 1024 * 1024


def export_values(exported: Iterable[ExportedValue], *, format: str) -> dict[str, str]:
    """Return name → value in the order of names; where a format takes fewer names, they are made to fit.

    Raises InvalidInput if two secrets would get one name (none may be lost), or if a Kubernetes
    Secret would be larger than 1 MiB.
    """
    fitted = {DOTENV: variable_name, KUBERNETES: kubernetes_key}.get(format)
    named = [(fitted(item.name), item.value) for item in exported] if fitted else list(exported)
    values = dict(named)
    if len(values) < len(named):
        twice = next(name for name, count in Counter(name for name, _ in named).items() if count > 1)
        raise InvalidInput("format", f"Two secrets would both be {twice}: rename one, or export a prefix.")
    if format == KUBERNETES and _size(values) > _MAX_KUBERNETES:
        raise InvalidInput("format", "A Kubernetes Secret holds at most 1 MiB: export by prefixes.")
    return values


def variable_name(name: str) -> str:
    """Return a secret's name as an environment variable's: `payments/stripe-key` → PAYMENTS_STRIPE_KEY."""
    variable = _NOT_IN_VARIABLES.sub("_", name).upper()
    return f"_{variable}" if variable[0].isdigit() else variable


def kubernetes_key(name: str) -> str:
    """Return a secret's name as a key of a Kubernetes Secret: `payments/stripe-key` → payments.stripe-key."""
    return _NOT_IN_KEYS.sub("_", name.replace("/", "."))


def _size(values: dict[str, str]) -> int:
    # Base64 writes three bytes as four.
    return sum(len(name) + (len(value.encode()) + 2) // 3 * 4 for name, value in values.items())


_NEVER_FOLDED: Final = 2**31 - 1
# The cells of CSV that its column `escaped` may name.
ESCAPABLE: Final = ("name", "value")
# What spreadsheets take for the begin of a formula (OWASP, CSV injection); an apostrophe makes it text.
_FORMULA: Final = (*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class _ExportRenderer(BaseRenderer, ABC):
    """The base of all forms: name → value, or a problem document."""

    charset: str | None = None
    render_style = "binary"
    # What people call it, and how the name of its file ends.
    label: str
    ending: str

    def render(
        self,
        data: Mapping[str, str] | None,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the bytes of the export; none where it has not changed."""
        return b"" if data is None else self.written(data)

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        return {}

    @abstractmethod
    def written(self, values: Mapping[str, str]) -> bytes:
        """Return name → value in this form."""


class JsonExport(_ExportRenderer):
    """One JSON object."""

    media_type = "application/json"
    format = "json"
    label = "JSON"
    ending = "json"

    def written(self, values: Mapping[str, str]) -> bytes:
        return orjson.dumps(dict(values))


class DotenvExport(_ExportRenderer):
    """Lines of NAME=value that a shell can source and dotenv readers understand."""

    media_type = "text/plain"
    format = DOTENV
    label = "dotenv"
    ending = "env"
    charset = "utf-8"

    def written(self, values: Mapping[str, str]) -> bytes:
        # REST framework takes the media type from an answer without a byte.
        return dotenv_bytes(values) or b"\n"

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        found = misread(values)
        return {HEADER: header(found)} if found else {}


class YamlExport(_ExportRenderer):
    """One YAML mapping."""

    media_type = "application/yaml"
    format = "yaml"
    label = "YAML"
    ending = "yaml"

    def written(self, values: Mapping[str, str]) -> bytes:
        # Double quotes and escapes alone keep every character, such as NEL, which YAML folds.
        text: str = yaml.safe_dump(dict(values), default_style='"', sort_keys=False, width=_NEVER_FOLDED)
        return text.encode()


class CsvExport(_ExportRenderer):
    """Rows of name and value that no spreadsheet runs; `escaped` names the cells that got an apostrophe."""

    media_type = "text/csv"
    format = "csv"
    label = "CSV"
    ending = "csv"
    charset = "utf-8"

    def written(self, values: Mapping[str, str]) -> bytes:
        text = io.StringIO(newline="")
        rows = csv.writer(text, quoting=csv.QUOTE_ALL)
        rows.writerow(("name", "value", "escaped"))
        for cells in values.items():
            risky = [cell.startswith(_FORMULA) for cell in cells]
            safe = [f"'{cell}" if is_risky else cell for cell, is_risky in zip(cells, risky, strict=True)]
            rows.writerow((*safe, " ".join(compress(ESCAPABLE, risky))))
        return text.getvalue().encode()


class KubernetesExport(_ExportRenderer):
    """One Secret for `kubectl apply -f`; the user chooses its name."""

    media_type = "application/vnd.kubernetes.secret+yaml"
    format = KUBERNETES
    label = "Kubernetes Secret"
    ending = "secret.yaml"

    def written(self, values: Mapping[str, str]) -> bytes:
        data = {name: b64encode(value.encode()).decode() for name, value in values.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keeper"},
            "type": "Opaque",
            "data": data,
        }
        text: str = yaml.safe_dump(secret, sort_keys=False, width=_NEVER_FOLDED)
        return text.encode()


EXPORT_RENDERERS: Final = (JsonExport, DotenvExport, YamlExport, CsvExport, KubernetesExport)


def export_renderer(format: str) -> _ExportRenderer:
    """Return the renderer of a format. Raises InvalidInput."""
    for renderer in EXPORT_RENDERERS:
        if renderer.format == format:
            return renderer()
    raise InvalidInput("format", f"Choose one of {', '.join(each.format for each in EXPORT_RENDERERS)}.")
