"""Environment variables are read as they are written."""

from pathlib import Path

import pytest

from core.config.variables import LiteralEnv


@pytest.mark.parametrize("text", ["$HOME", "$$", "a$b", r"\$x", "pa$$word", "${HOME}", "plain"])
def test_it_reads_dollars_as_they_are(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KEEPER_TEST_VALUE", text)
    assert LiteralEnv().str("KEEPER_TEST_VALUE") == text


def test_it_reads_a_value_from_the_file_that_a_variable_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("$from a file")
    monkeypatch.setenv("KEEPER_TEST_FILED_FILE", str(tmp_path / "password"))
    assert LiteralEnv().str("KEEPER_TEST_FILED") == "$from a file"


def test_it_falls_back_to_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEEPER_TEST_VALUE", raising=False)
    assert LiteralEnv().int("KEEPER_TEST_VALUE", default=3) == 3


def test_it_reads_json_and_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER_TEST_VALUE", '{"a": "$b"}')
    monkeypatch.setenv("KEEPER_TEST_LIST", "x:$1,y:$2")
    assert LiteralEnv().json("KEEPER_TEST_VALUE") == {"a": "$b"}
    assert LiteralEnv().list("KEEPER_TEST_LIST") == ["x:$1", "y:$2"]
