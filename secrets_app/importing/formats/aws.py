"""Reads what `aws secretsmanager get-secret-value` and `batch-get-secret-value` write, one or many."""

from collections.abc import Iterable

from secrets_app.importing.formats import json as json_tokens_format
from secrets_app.importing.formats.entries import Entry, unreadable
from secrets_app.types.registry import SecretType


def parse_aws_file(text: str) -> list[Entry]:
    """Return the entries of an export of AWS Secrets Manager. Raises InvalidInput."""
    return [_entry(place, part) for place, part in enumerate(_replies(json_tokens_format.checked(text)), 1)]


def _replies(text: str) -> Iterable[str]:
    if json_tokens_format.is_array(text):
        return json_tokens_format.elements(text)
    if not json_tokens_format.is_object(text):
        raise unreadable("The file is not what AWS Secrets Manager writes.")
    parts = dict(json_tokens_format.members(text))
    values = parts.get("SecretValues", "")
    return json_tokens_format.elements(values) if json_tokens_format.is_array(values) else [text]


def _entry(place: int, text: str) -> Entry:
    parts = dict(json_tokens_format.members(text)) if json_tokens_format.is_object(text) else {}
    name = (json_tokens_format.plain_text(parts.get("Name", "null")) or "").lstrip("/")
    value = json_tokens_format.plain_text(parts.get("SecretString", "null"))
    if not name:
        return Entry(place=place, name="", fault="The entry has no Name.")
    if value is None:
        fault = "The entry has no SecretString; binary values have to be encoded as text first."
        return Entry(place=place, name=name, fault=fault)
    # Secrets Manager's own pages write key and value pairs as a JSON object in the string.
    kind = SecretType.JSON if value.lstrip().startswith("{") else None
    return Entry(place=place, name=name, value=value, secret_type=kind)
