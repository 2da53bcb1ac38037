"""What a dotenv export gives to real readers: each value as it is, unless the file and a header name it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from django.test import Client
from hypothesis import example, given, settings
from hypothesis import strategies as st

from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.services import exporting
from secrets_app.services.exporting import HEADER, DotenvReader, misread
from secrets_app.tests.dotenv_readers import (
    AWKWARD,
    Read,
    by_docker,
    by_node,
    by_python,
    by_shell,
    node_readers,
)
from secrets_app.tests.kept import keep

Readers = Mapping[DotenvReader, Callable[[Path, list[str]], Read]]
# A prefix, since node --env-file leaves variables alone that the process has.
VALUES = {f"V_{name.upper()}": value for name, value in AWKWARD.items()}
# Of the 69 awkward values, how many a reader reads; shells read all.
READ = {DotenvReader.DOCKER: 6, DotenvReader.PYTHON: 62, DotenvReader.DOTENV: 56, DotenvReader.NODE: 57}
texts = st.lists(
    st.text(
        st.one_of(
            st.sampled_from("ab \t\n\r'\"\\$`{}#=;"), st.characters(codec="utf-8", exclude_characters="\x00")
        ),
        min_size=1,
        max_size=12,
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with node_readers() as (by_dotenv, by_load_env_file):
        yield {
            DotenvReader.DOCKER: by_docker,
            DotenvReader.PYTHON: by_python,
            DotenvReader.DOTENV: by_dotenv,
            DotenvReader.NODE: by_load_env_file,
        }


def stored(values: dict[str, str], directory: Path) -> Path:
    file = directory / "export.env"
    file.write_bytes(exporting.dotenv_bytes(values))
    return file


def wrong(read: Read, values: dict[str, str]) -> set[str]:
    return {name for name, value in values.items() if read.get(name) != value}


def named(values: dict[str, str], reader: DotenvReader) -> set[str]:
    """Return the variables that are named as misread: all, if one of them spoils the file."""
    found = misread(values).get(reader)
    if found is None:
        return set()
    return set(values) if found.spoiling else set(found.alone)


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_shell_reads_every_value(shell: str, tmp_path: Path) -> None:
    read = by_shell(shell)(stored(VALUES, tmp_path), list(VALUES))
    assert wrong(read, VALUES) == set()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("reader", DotenvReader)
def test_what_a_reader_misreads_is_what_the_file_names(
    readers: Readers, reader: DotenvReader, tmp_path: Path
) -> None:
    """Each value by itself, so that none spoils another."""
    misreads: set[str] = set()
    for name, value in VALUES.items():
        alone = {name: value}
        misreads |= wrong(readers[reader](stored(alone, tmp_path), [name]), alone)
    says = {name for name, value in VALUES.items() if named({name: value}, reader)}
    # Whether a backslash at the end takes the closing quote along depends, for dotenv, on the next line.
    assert misreads <= says
    assert {name for name in says - misreads if not VALUES[name].endswith("\\")} == set()


@pytest.mark.parametrize("reader", DotenvReader)
def test_a_file_that_no_value_spoils_gives_all_others(
    readers: Readers, reader: DotenvReader, tmp_path: Path
) -> None:
    kept = {name: value for name, value in VALUES.items() if not _spoils(value, reader)}
    file = stored(kept, tmp_path)
    read = readers[reader](file, list(kept))
    if reader == DotenvReader.NODE:
        assert read == by_node(file, list(kept))
    assert wrong(read, kept) <= named(kept, reader)
    assert len(kept) - len(named(kept, reader)) == READ[reader]


def _spoils(value: str, reader: DotenvReader) -> bool:
    found = misread({"A": value}).get(reader)
    return bool(found and found.spoiling)


@settings(max_examples=40)
@example([" "])
@example(["\n", "\r", "\\", "`"])
@example(["$", "${V0}", "\ufeff", "'\""])
@given(texts)
def test_whatever_is_not_named_is_read(
    readers: Readers, tmp_path_factory: pytest.TempPathFactory, some: list[str]
) -> None:
    values = {f"V{number}": text for number, text in enumerate([*some, "plain", "it's", "#'"])}
    file = stored(values, tmp_path_factory.mktemp("export"))
    for reader, read in readers.items():
        assert wrong(read(file, list(values)), values) <= named(values, reader), reader
    for shell in ("bash", "dash"):
        assert not wrong(by_shell(shell)(file, list(values)), values)


def test_an_export_names_what_is_misread_in_comments_and_a_header(
    cast: Cast, bearer: Callable[..., Client], signed_in: Callable[[User], Client]
) -> None:
    for name, value in {"plain": "abc123", "note": 'it\'s "both"', "key": "-----BEGIN\n-----END"}.items():
        keep(cast, name, value)
    answer = bearer("reader", cast.development).get("/api/environments/development/export?format=dotenv")
    assert answer.headers[HEADER] == 'docker=("KEY" "NOTE");spoilt, dotenv=("NOTE"), node=("NOTE")'
    lines = answer.content.decode().splitlines()
    assert lines[:4] == [
        "# docker run --env-file cannot read this file, because of: KEY",
        "# docker run --env-file misreads: KEY, NOTE",
        "# dotenv of Node.js misreads: NOTE",
        "# node --env-file misreads: NOTE",
    ]
    form = {"environment": "development", "format": "dotenv", "under": ""}
    page = signed_in(cast.alice).post("/secrets/export", form)
    assert page.content == answer.content
    assert page.headers[HEADER] == answer.headers[HEADER]


def test_an_export_without_a_misread_value_has_neither(cast: Cast, bearer: Callable[..., Client]) -> None:
    keep(cast, "plain", "abc123")
    client = bearer("reader", cast.development)
    answer = client.get("/api/environments/development/export?format=dotenv")
    assert (answer.content, HEADER in answer.headers) == (b"PLAIN=abc123\n", False)
    assert HEADER not in client.get("/api/environments/development/export?format=json").headers


def test_the_header_stays_small_and_the_comments_name_all() -> None:
    values = {f"NAME_{number:04}": "two words" for number in range(1000)}
    found = misread(values)
    assert exporting.header(found).endswith(";more=990")
    assert len(exporting.header(found)) < 200
    comments = [line for line in exporting.dotenv_bytes(values).decode().splitlines() if line.startswith("#")]
    assert all(name in "".join(comments) for name in values)
    assert max(map(len, comments)) < 1000
