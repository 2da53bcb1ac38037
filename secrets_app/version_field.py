"""Reads the number of a version from a form."""

from typing import Final

from django.http import HttpRequest

from audit_app.whole_numbers import whole_number
from secrets_app.input_errors import InvalidInput

MAX_NUMBER: Final = 2**31 - 1


def version_number(request: HttpRequest, name: str = "version") -> int | None:
    """Return the number that a form sends, or None if it sends none. Raises InvalidInput."""
    text = request.POST.get(name, "")
    if not text:
        return None
    number = whole_number(text, largest=MAX_NUMBER)
    if number is None:
        raise InvalidInput(name, "Choose a version.")
    return number
