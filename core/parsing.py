"""Reads whole numbers that arrive as text, in a query or a form."""


def whole_number(text: str, *, largest: int) -> int | None:
    """Return a number from 0 to `largest` that is written in ASCII digits alone, else None.

    `int()` also takes signs, spaces, underscores and other scripts' digits, and is slow on
    thousands of them.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(largest))):
        return None
    number = int(text)
    return number if number <= largest else None
