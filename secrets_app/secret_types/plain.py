"""Passwords, API keys and free text: values without a structure, and so without facts."""

import unicodedata

from secrets_app.secret_types.bounds import Facts, refused


def inspect_password(_value: str) -> Facts:
    """Accept any password; a fact about one, even its length, would help to guess it."""
    return {}


def inspect_text(_value: str) -> Facts:
    """Accept any text."""
    return {}


def inspect_api_key(value: str) -> Facts:
    """Accept an API key: one line without control characters, and no space around it.

    API keys travel in headers, where a pasted line break breaks the request. Raises InvalidValue.
    """
    if value != value.strip():
        raise refused("The API key begins or ends with a space or line break: remove it.")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise refused("The API key holds a line break or control character: give it on one line.")
    return {}
