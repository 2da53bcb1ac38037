"""The kinds of values: each is validated, left unchanged, and described by derived facts.

Passwords, API keys and free text have no structure, and so no facts.
"""

import unicodedata
from collections.abc import Callable
from typing import Final

from django.db import models

from secrets_app.errors import InvalidValue
from secrets_app.types.bounds import MAX_VALUE_BYTES, Facts, Json, check_bounds, refused
from secrets_app.types.certificate import inspect_certificate
from secrets_app.types.json_document import inspect_json
from secrets_app.types.ssh_key import inspect_ssh_key
from secrets_app.types.yaml_document import inspect_yaml


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


__all__ = ["INSPECTORS", "MAX_VALUE_BYTES", "Facts", "Json", "SecretType", "inspect", "parse_secret_type"]


class SecretType(models.TextChoices):
    """The seven types of secrets, spelled as in the API."""

    PASSWORD = "PASSWORD", "Password"
    API_KEY = "API_KEY", "API key"
    SSH_KEY = "SSH_KEY", "SSH key"
    CERTIFICATE = "CERTIFICATE", "Certificate"
    JSON = "JSON", "JSON"
    YAML = "YAML", "YAML"
    TEXT = "TEXT", "Text"


INSPECTORS: dict[SecretType, Callable[[str], Facts]] = {
    SecretType.PASSWORD: inspect_password,
    SecretType.API_KEY: inspect_api_key,
    SecretType.SSH_KEY: inspect_ssh_key,
    SecretType.CERTIFICATE: inspect_certificate,
    SecretType.JSON: inspect_json,
    SecretType.YAML: inspect_yaml,
    SecretType.TEXT: inspect_text,
}


_BY_VALUE: Final = {str(member): member for member in SecretType}


def parse_secret_type(text: object) -> SecretType:
    """Return the type that `text` names, in any case and with `-` or a space for `_` ("api-key").

    Raises InvalidValue, for the field `secret_type`, if there is none.
    """
    name = text.strip().upper().replace("-", "_").replace(" ", "_") if isinstance(text, str) else ""
    secret_type = _BY_VALUE.get(name)
    if secret_type is None:
        raise InvalidValue("secret_type", f"Choose one of {', '.join(SecretType.values)}.")
    return secret_type


def inspect(secret_type: SecretType, value: object) -> Facts:
    """Check that `value` is one that `secret_type` takes, and return what may be shown about it.

    Facts are visible to every user who may see the secret's name: nothing that helps to guess the value.

    Raises InvalidValue if it is not; the reason never holds a part of the value.
    """
    return INSPECTORS[secret_type](check_bounds(value))
