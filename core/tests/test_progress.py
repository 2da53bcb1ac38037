"""Long work shows a line now and then to a person, and nothing to a program."""

import io
import time

import pytest

from core import progress


class Terminal(io.StringIO):
    """Standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "asked", "shows"),
    [(io.StringIO, False, False), (io.StringIO, True, True), (Terminal, False, True)],
)
def test_it_shows_on_a_terminal_or_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], *, asked: bool, shows: bool
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.01)
    error = stream()
    with progress.reported(error, asked=asked, text=lambda: "12 rows"):
        time.sleep(0.2)

    assert error.getvalue().startswith("12 rows, after 0 seconds\n") is shows
    assert bool(error.getvalue()) is shows


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    error = Terminal()
    with progress.reported(error, asked=True, text=lambda: "12 rows"):
        pass
    time.sleep(0.05)

    assert error.getvalue() == ""


def test_nothing_is_written_after_work_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.01)
    error = Terminal()
    with pytest.raises(ZeroDivisionError), progress.reported(error, asked=True, text=lambda: "a"):
        _ = 1 / 0
    written = error.getvalue()
    time.sleep(0.05)

    assert error.getvalue() == written
