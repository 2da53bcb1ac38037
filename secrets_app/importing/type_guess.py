"""Guesses the type of an imported value from its content, then from its name."""

import re
from typing import Final

from secrets_app.errors import InvalidInput
from secrets_app.secret_types.registry import SecretType, inspect

_SSH_KEY: Final = r"\s*(?:-----BEGIN OPENSSH PRIVATE KEY-----|(?:ssh|ecdsa)-[a-z0-9-]+ AAAA)"
_CONTENT: Final = (
    (re.compile(r"\s*-----BEGIN CERTIFICATE-----"), SecretType.CERTIFICATE),
    (re.compile(_SSH_KEY), SecretType.SSH_KEY),
    (re.compile(r"\s*[{\[]"), SecretType.JSON),
)
_WORDS: Final = re.compile(r"[^a-z0-9]+")
_PASSWORD: Final = {"password", "passwd", "pass", "pwd", "passphrase"}
_API_KEY: Final = {"key", "apikey", "token"}


def guess_type(name: str, value: str) -> SecretType:
    """Return the type that a value of this name most likely has; text if nothing else fits."""
    for pattern, secret_type in _CONTENT:
        if pattern.match(value):
            return secret_type if _is_one(secret_type, value) else SecretType.TEXT
    words = set(_WORDS.split(name.rpartition("/")[2].lower()))
    if words & _PASSWORD and _is_one(SecretType.PASSWORD, value):
        return SecretType.PASSWORD
    return SecretType.API_KEY if words & _API_KEY and _is_one(SecretType.API_KEY, value) else SecretType.TEXT


def _is_one(secret_type: SecretType, value: str) -> bool:
    try:
        inspect(secret_type, value)
    except InvalidInput:
        return False
    return True
