"""The bounds that every secret value keeps, whatever its type."""

from typing import TypeAlias

from secrets_app.errors import InvalidValue

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
Facts: TypeAlias = dict[str, Json]

# AWS Secrets Manager takes no more; what cannot be synced is refused when it is written.
MAX_VALUE_BYTES = 65_536


def refused(reason: str) -> InvalidValue:
    """Make the error that refuses a value for `reason`, a sentence without any part of the value."""
    return InvalidValue("value", reason)


def check_bounds(value: object) -> str:
    """Return `value` unchanged if it is text of 1 to 65,536 bytes of UTF-8 without NUL.

    Raises InvalidValue if it is not.
    """
    if not isinstance(value, str):
        raise refused("The value must be text.")
    if not value:
        raise refused("Enter a value.")
    if encoded_size(value) > MAX_VALUE_BYTES:
        raise refused(f"Value is too large (max {MAX_VALUE_BYTES >> 10} KB).")
    if "\0" in value:
        raise refused("The value contains a NUL character: encode binary data, for example with Base64.")
    return value


def encoded_size(value: str) -> int:
    """Return the number of bytes of `value` in UTF-8, without encoding what is clearly too large.

    Raises InvalidValue if it holds a lone surrogate, which UTF-8 cannot express.
    """
    if len(value) > MAX_VALUE_BYTES or value.isascii():
        return len(value)
    if not is_encodable(value):
        raise refused("The value contains half of a surrogate pair, which is not valid text: remove it.")
    return len(value.encode())


def is_encodable(text: str) -> bool:
    """Return whether `text` can be encoded in UTF-8.

    It answers instead of raising because UnicodeEncodeError carries the whole text with it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
