"""What the answers of other systems mean: as data for each system, and what no such system answers."""

import functools
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sync_app.errors import AnswerUnexpected, BackendError

# What reading an answer of another form raises: a list where an object belongs, a number for a text.
PARSE_ERRORS: Final = (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)
_LONGEST_ID: Final = 2048
# Of a list; at 50 or 100 items a page more than any system keeps.
_MOST_PAGES: Final = 10_000
_ENDLESS: Final = (
    "the other system's list does not end: it leads back to a page that was answered before, or to more than "
    f"{_MOST_PAGES:,}. Check the address, and whether a proxy answers there"
)
_READERS: Final = (
    "identify_system", "check_connection", "probe_permissions", "list_secrets", "get_metadata",
    "batch_get_metadata", "read_value", "create", "update", "delete", "restore", "mark", "unmark",
    "put_pending", "remove_pending", "revert_write", "revert_unconfirmed_write", "after_writes",
)  # fmt: skip
logger = logging.getLogger(__name__)


class Request(StrEnum):
    """Which of the requests of a write is answered."""

    # The look before it.
    LOOK = "look"
    # The one that changes the value.
    WRITE = "write"
    # The look after an answered write.
    LOOK_AFTER = "look after a write"


class Proof(StrEnum):
    """What an answer proves about a write."""

    NOTHING = "nothing happened"
    HAPPENED = "it happened"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class VendorAnswer:
    """One answer of a system, what it proves about a write, and what Keeper takes it for.

    `status` 0 is an answer that was lost. `error` is what the backend raises, or the engine where the look
    after the write is concerned; None: the write counts as done.
    """

    answer: str
    to: Request
    status: int
    proves: Proof
    error: type[BackendError] | None
    # The page and section of the system's documentation.
    source: str
    # Which requests are answered so, or which write a look is after: methods, or operations of AWS.
    # Empty: each.
    of: tuple[str, ...] = ()
    # The act that it is of: create or update. Empty: each.
    act: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer_row(
    status: int,
    meaning: str,
    error: type[BackendError] | None,
    source: str,
    to: Request = Request.WRITE,
    proves: Proof = Proof.NOTHING,
    **others: Any,
) -> VendorAnswer:
    """Return the row of an answer that is called by its status (none where it was lost) and a meaning."""
    return VendorAnswer(
        answer=f"{status or 'none'}{meaning}",
        to=to,
        status=status,
        proves=proves,
        error=error,
        source=source,
        **others,
    )


def unexpected_answer(what: str) -> AnswerUnexpected:
    """Return the error for an answer of another form; nothing of the answer is repeated."""
    return AnswerUnexpected(
        f"the other system answered {what} in a form that no such system has: check the address, and "
        "whether something else answers there"
    )


def require_plain_id(text: object) -> str:
    """Return an id that another system gave. Raises ValueError if it is no text that can be kept."""
    if not isinstance(text, str) or len(text) > _LONGEST_ID or not text.isprintable():
        raise ValueError("no id")
    return text


def listed(ask: Callable[[str], tuple[Any, str | None]]) -> Iterator[Any]:
    """Yield the items of a list, page by page.

    `ask` returns the items of a page and what leads to the next one; it is called with what the page before
    led to, at first with "". A page may be empty. Raises AnswerUnexpected for a list that does not end, and
    what `ask` raises.
    """
    token, page, seen = "", None, set[str]()
    for _ in range(_MOST_PAGES):
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


def reject_malformed_answers(kind: Any) -> None:
    """Have the methods of a backend that read answers raise AnswerUnexpected for those of another form."""
    for name in _READERS:
        if (method := vars(kind).get(name)) is not None:
            setattr(kind, name, _reject_malformed(method))


def _reject_malformed(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def judged(*given: Any, **options: Any) -> Any:
        try:
            found = method(*given, **options)
        except PARSE_ERRORS as error:
            raise _log_malformed(error, method.__name__) from None
        return _iterate_checked(found, method.__name__) if isinstance(found, Iterator) else found

    return judged


def _iterate_checked(found: Iterator[Any], what: str) -> Iterator[Any]:
    try:
        yield from found
    except PARSE_ERRORS as error:
        raise _log_malformed(error, what) from None


def _log_malformed(error: Exception, what: str) -> AnswerUnexpected:
    """Log where an answer could not be read, since it may be a defect of Keeper, and return the error.

    The text of the exception may repeat the answer: it stays out.
    """
    last = traceback.extract_tb(error.__traceback__, limit=-1)[0]
    where = f"{Path(last.filename).name}:{last.lineno}"
    logger.warning("the answer to %s could not be read: %s at %s", what, type(error).__name__, where)
    return unexpected_answer(what)
