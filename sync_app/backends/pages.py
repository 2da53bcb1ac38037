"""Lists that other systems answer a page at a time."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from sync_app.errors import AnswerUnexpected

# Of a list; at 50 or 100 items a page more than any system keeps.
_MOST: Final = 10_000
_ENDLESS: Final = (
    "the other system's list does not end: it leads back to a page that was answered before, or to more than "
    f"{_MOST:,}. Check the address, and whether a proxy answers there"
)


def listed(ask: Callable[[str], tuple[Any, str | None]]) -> Iterator[Any]:
    """Yield the items of a list, page by page.

    `ask` returns the items of a page and what leads to the next one; it is called with what the page before
    led to, at first with "". A page may be empty. Raises AnswerUnexpected for a list that does not end, and
    what `ask` raises.
    """
    token, page, seen = "", None, set[str]()
    for _ in range(_MOST):
        before = page
        page, next_token = ask(token)
        if (page and page == before) or next_token in seen:
            raise AnswerUnexpected(_ENDLESS)
        yield from page
        if not next_token:
            return
        seen.add(next_token)
        token = next_token
    raise AnswerUnexpected(_ENDLESS)
