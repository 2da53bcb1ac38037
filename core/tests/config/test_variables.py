"""Environment variables are read as they are written."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from core.config import variables
from core.config.variables import Group, load_file

NAME = "KEEPER_TEST_VALUE"


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setattr(variables, "GROUPS", [])
    monkeypatch.setattr(variables, "SOURCES", {})
    monkeypatch.delenv(NAME, raising=False)
    return Group("Test")


@pytest.mark.parametrize("text", ["$HOME", "$$", "a$b", r"\$x", "pa$$word", "${HOME}", "plain"])
def test_it_reads_dollars_as_they_are(group: Group, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)
    assert group.text(NAME, help="x") == text


def test_it_reads_a_value_from_the_file_that_a_variable_names(
    group: Group, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("$from a file")
    monkeypatch.setenv(NAME, "another")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "password"))
    assert group.text(NAME, help="x") == "$from a file"
    # One byte that is no text, among what must not be shown.
    (tmp_path / "password").write_bytes(b"s3cr3t\xff")
    with pytest.raises(
        ImproperlyConfigured, match=rf"^{NAME}_FILE: .*/password cannot be read: it is no text"
    ) as found:
        group.text(NAME, help="x")
    assert found.value.__cause__ is None
    assert not isinstance(found.value.__context__, UnicodeDecodeError)
    (tmp_path / "password").unlink()
    with pytest.raises(
        ImproperlyConfigured, match=rf"^{NAME}_FILE: .*/password cannot be read: No such file"
    ):
        group.text(NAME, help="x")


def test_it_falls_back_to_the_default(group: Group) -> None:
    assert group.whole(NAME, 3, unit="days", help="x") == 3
    assert group.decimal(NAME, 0.5, unit="days", help="x") == 0.5
    assert group.several(NAME, ("a", "b"), help="x") == ["a", "b"]
    assert group.switch(NAME, default=True, help="x")
    assert group.mapping(NAME, help="x", example="") == {}


@pytest.mark.parametrize(
    ("text", "is_on"),
    [
        ("true", True),
        ("On", True),
        (" yes ", True),
        ("1", True),
        ("2", True),
        ("0", False),
        ("", False),
        ("x", False),
    ],
)
def test_a_switch_is_on_or_off(group: Group, monkeypatch: pytest.MonkeyPatch, text: str, is_on: bool) -> None:
    monkeypatch.setenv(NAME, text)
    assert group.switch(NAME, default=not is_on, help="x") is is_on


def test_it_reads_json_and_lists(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, '{"a": "$b"}')
    assert group.mapping(NAME, help="x", example="") == {"a": "$b"}
    monkeypatch.setenv(NAME, "x:$1,,y:$2")
    assert group.several(NAME, help="x") == ["x:$1", "y:$2"]


@pytest.mark.parametrize("text", ["", "x", "1,5", "1;hunter2", "nan", "inf"])
def test_what_is_no_number_is_named_and_not_repeated(
    group: Group, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(NAME, text)
    for number, expected in (
        (group.whole, "a whole number (days)"),
        (group.decimal, "a number with a point for its fraction (days)"),
    ):
        with pytest.raises(ImproperlyConfigured) as raised:
            number(NAME, 3, unit="days", help="x")
        assert str(raised.value) == f"{NAME}: Keeper cannot read its value. Set {expected}."
        assert raised.value.__cause__ is None


def test_a_number_may_be_left_out_where_that_has_a_meaning(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert group.whole_or_none(NAME, 6, unit="hour", help="x") == 6
    monkeypatch.setenv(NAME, "")
    assert group.whole_or_none(NAME, 6, unit="hour", help="x") is None
    monkeypatch.setenv(NAME, "six")
    with pytest.raises(ImproperlyConfigured, match=rf"{NAME}: .* a whole number \(hour, or nothing\)"):
        group.whole_or_none(NAME, 6, unit="hour", help="x")


def test_what_is_no_json_is_named_and_not_repeated(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "{hunter2")
    with pytest.raises(ImproperlyConfigured, match=rf"{NAME}: .* Set a JSON object\.\Z"):
        group.mapping(NAME, help="x", example="")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"{NAME}=plain # text", "plain # text"),
        (f"export {NAME}=a=b", "a=b"),
        (f"{NAME}='$a \\ \"b\"'", '$a \\ "b"'),
        (f'{NAME}="a \\"b\\" \\n"', 'a "b" \\n'),
        (f"{NAME}=", ""),
        (f"# {NAME}=x", None),
        (f" {NAME}=x", None),
    ],
)
def test_a_file_gives_what_is_not_set(
    group: Group, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, value: Any
) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environment)
    (tmp_path / ".env").write_text(f"\n{line}\n")
    load_file(tmp_path / ".env")
    load_file(tmp_path / "missing")
    assert environment.get(NAME) == value
    environment[NAME] = "set"
    load_file(tmp_path / ".env")
    assert environment == {NAME: "set"}
