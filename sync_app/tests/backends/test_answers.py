"""An answer that no system gives is an error: one that cannot be read, and a list without an end.

The log names the place, and nothing of what it was about.
"""

from collections.abc import Iterator
from itertools import count

import pytest

from sync_app.backends.answers import listed, reject_malformed_answers
from sync_app.errors import AnswerUnexpected

CANARY = "kanarienvogel"
Page = tuple[list[int], str | None]


class Mistaken:
    """A backend with defects of its own."""

    def update(self, value: str) -> None:
        """Fail with the value in the message."""
        raise AttributeError(f"no attribute {value}")

    def list_secrets(self) -> Iterator[str]:
        """Fail after the first name."""
        yield "first"
        raise KeyError(CANARY)


reject_malformed_answers(Mistaken)


def test_a_defect_of_a_backend_is_logged_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AnswerUnexpected):
        Mistaken().update(CANARY)
    line = Mistaken.update.__wrapped__.__code__.co_firstlineno + 2  # type: ignore[attr-defined]
    assert caplog.messages == [
        f"the answer to update could not be read: AttributeError at test_answers.py:{line}"
    ]
    assert CANARY not in caplog.text


def test_a_defect_in_the_middle_of_a_list_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AnswerUnexpected):
        list(Mistaken().list_secrets())
    assert len(caplog.messages) == 1
    assert "KeyError at test_answers.py:" in caplog.text
    assert CANARY not in caplog.text


def read(pages: dict[str, Page]) -> list[int]:
    return list(listed(lambda token: pages[token]))


def test_it_reads_page_after_page_empty_ones_too() -> None:
    assert read({"": ([1, 2], "a"), "a": ([], "b"), "b": ([3], None)}) == [1, 2, 3]
    assert read({"": ([], "")}) == []


@pytest.mark.parametrize(
    "pages",
    [
        {"": ([1], "a"), "a": ([2], "a")},
        {"": ([1], "a"), "a": ([2], "b"), "b": ([3], "a")},
        {"": ([1], "a"), "a": ([], "a")},
        {"": ([1], "a"), "a": ([1], "b"), "b": ([1], "c")},
    ],
)
def test_a_list_that_leads_back_ends_with_an_error(pages: dict[str, Page]) -> None:
    asked: list[str] = []

    def ask(token: str) -> Page:
        asked.append(token)
        return pages[token]

    with pytest.raises(AnswerUnexpected, match="does not end"):
        list(listed(ask))
    # At once, and not after as many pages as a list may have.
    assert len(asked) <= len(pages)


def test_a_list_that_always_goes_on_ends_with_an_error() -> None:
    number = count()

    def ask(_token: str) -> Page:
        return [], str(next(number))

    with pytest.raises(AnswerUnexpected, match="does not end"):
        list(listed(ask))
    assert next(number) == 10_000
