"""What became of each item of an act on many: done, or refused with a reason that holds no value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from environments_app.errors import AccessError, ConfirmationNeeded, Forbidden, Invisible
from secrets_app.errors import EnvelopeError, InvalidInput, KeyRefused, KeyUnavailable, SecretError

NOT_ALLOWED: Final = "Your role doesn't allow this here."
# The first class that an error is an instance of decides; others use their own sentence.
_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Invisible, "Not found, or you don't have access."),
    (Forbidden, NOT_ALLOWED),
    (EnvelopeError, "The stored value was changed outside Keeper. This was logged."),
    (KeyUnavailable, "The environment's encryption key isn't available right now. Try again later."),
    (KeyRefused, "The encryption key was refused. Contact an operator."),
)


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """The result of one item; `reason` states why nothing was done."""

    name: str
    done: bool
    reason: str = ""
    # What was done, in a word of the caller's, and the secret that it left.
    word: str = ""
    secret_id: int | None = None


def run_item(name: str, act: Callable[[], int | None], *, word: str = "") -> ItemResult:
    """Carry out one item; what it is refused for becomes its result. `act` returns a secret's id, or None.

    Raises ConfirmationNeeded, which concerns all of them.
    """
    try:
        secret_id = act()
    except ConfirmationNeeded:
        raise
    except (SecretError, AccessError) as error:
        return ItemResult(name=name, done=False, reason=error_message(error))
    return ItemResult(name=name, done=True, word=word, secret_id=secret_id)


def error_message(error: SecretError | AccessError) -> str:
    """Return the message for an item's error."""
    if isinstance(error, InvalidInput):
        return error.reason
    return next((words for kind, words in _WORDS if isinstance(error, kind)), str(error))
