"""Writes dotenv files, and finds the readers that would not read a value as it is.

The format has no standard. A value without special characters is not quoted, on which all readers agree.
Any other one is quoted such that a POSIX shell reads it exactly and runs nothing, and that as many of
the other readers as possible agree. What is left is named.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

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
