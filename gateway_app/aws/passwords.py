"""GetRandomPassword: a random password by the options of AWS; nothing is stored."""

import secrets
import string
from collections.abc import Mapping
from typing import Any, Final

from gateway_app.aws.answers import AwsError, invalid
from gateway_app.aws.names import Account

_LONGEST: Final = 4096
_USUAL: Final = 32
# What each option leaves out.
_TYPES: Final[Mapping[str, str]] = {
    "ExcludeLowercase": string.ascii_lowercase,
    "ExcludeUppercase": string.ascii_uppercase,
    "ExcludeNumbers": string.digits,
    "ExcludePunctuation": string.punctuation,
}
_NO_CHARACTERS: Final = "The options leave no character for the password."
_TOO_SHORT: Final = "Password length is too short based on the required types."


def get_random_password(_account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a password of 32 characters, or as asked for. Raises AwsError.

    Each type of character that is allowed occurs, unless `RequireEachIncludedType` is false.
    """
    length = given.get("PasswordLength")
    length = _USUAL if length is None else length
    if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= _LONGEST:
        raise AwsError("ValidationException", f"PasswordLength must be a number from 1 to {_LONGEST}.")
    excluded = given.get("ExcludeCharacters") or ""
    if not isinstance(excluded, str) or len(excluded) > _LONGEST:
        raise AwsError("ValidationException", f"ExcludeCharacters must be at most {_LONGEST} characters.")
    types = [text for option, text in _TYPES.items() if not _is_set(given, option, default=False)]
    if _is_set(given, "IncludeSpace", default=False):
        types.append(" ")
    left = ["".join(each for each in text if each not in excluded) for text in types]
    left = [text for text in left if text]
    if not left:
        raise invalid(_NO_CHARACTERS)
    required = left if _is_set(given, "RequireEachIncludedType", default=True) else []
    if length < len(required):
        raise invalid(_TOO_SHORT)
    everything = "".join(left)
    characters = [secrets.choice(text) for text in required]
    characters += [secrets.choice(everything) for _ in range(length - len(required))]
    secrets.SystemRandom().shuffle(characters)
    return {"RandomPassword": "".join(characters)}


def _is_set(given: Mapping[str, Any], option: str, *, default: bool) -> bool:
    value = given.get(option)
    if value is not None and not isinstance(value, bool):
        raise AwsError("SerializationException", f"{option} must be true or false.")
    return default if value is None else value
