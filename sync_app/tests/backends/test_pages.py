"""A list that is answered a page at a time has an end, whatever the other system answers."""

from itertools import count

import pytest

from sync_app.backends.pages import listed
from sync_app.errors import AnswerUnexpected

Page = tuple[list[int], str | None]


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
