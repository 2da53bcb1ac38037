"""Names for a shell: of the place that the line names, without values, without a file, silent on failure."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kpr.__main__ import main
from kpr.api import Api
from kpr.errors import NoAnswerError
from kpr.tests.conftest import CANARY, Inside
from kpr.tests.test_levels import type_in

Offered = Callable[..., list[str]]


@pytest.fixture
def offered(inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offered:
    for name in ("app/key", "app/other", "apple"):
        type_in(monkeypatch, CANARY)
        assert main(["set", name]) == 0
    capsys.readouterr()

    def offer(*words: str) -> list[str]:
        assert main(["_complete", *words]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        assert CANARY not in told.out
        return told.out.splitlines()

    return offer


def test_names_are_those_of_the_place_on_the_line(offered: Offered, inside: Inside, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    inside.asked.clear()
    assert offered("secrets", "", "get") == ["app/key", "app/other", "apple"]
    assert offered("secrets", "app/o", "get") == ["app/other"]
    assert "&prefix=app" in inside.asked[-1]
    assert offered("secrets", "", "get", "-e", "nowhere") == []
    assert "environment=nowhere" in inside.asked[-1]
    assert offered("secrets", "", "get", "--environment=nowhere") == []
    assert offered("environments", "dev", "run", "-e") == ["development"]
    # One request each, and nothing on the disk.
    assert len(inside.asked) == 5
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_fails_is_silent(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        (),
        ("secrets",),
        ("values", ""),
        ("secrets", "", "get", "--server", "http://elsewhere.example"),
    ):
        assert offered(*words) == []
    monkeypatch.setenv("KPR_TOKEN", "no token")
    assert offered("secrets", "") == []
    monkeypatch.delenv("KPR_TOKEN")

    def away(*_: object, **__: object) -> None:
        raise NoAnswerError("Cannot reach it.")

    monkeypatch.setattr(Api, "_try", away)
    monkeypatch.setenv("KPR_TOKEN", f"kpr_{'a' * 22}_{'b' * 43}")
    assert offered("secrets", "") == []


def test_what_a_shell_would_run_is_not_offered(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["good/name", "$(id)", "`id`", "a b", "a;b", "-rf\n", "a\nb", ""]
    monkeypatch.setattr("kpr.cli.names._KINDS", {"secrets": lambda *_: iter(names)})
    assert offered("secrets", "") == ["good/name"]


def test_a_server_that_does_not_answer_in_time_is_left(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[float, object, object]] = []

    class Timer:
        daemon = False

        def __init__(self, *given: object) -> None:
            started.append(given)  # type: ignore[arg-type]  # three of them

        def start(self) -> None: ...
        def cancel(self) -> None: ...

    monkeypatch.setattr("kpr.cli.names.threading.Timer", Timer)
    assert main(["_complete", "secrets", ""]) == 0
    assert started == [(2.0, os._exit, (0,))]
