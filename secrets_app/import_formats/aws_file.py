"""Reads what `aws secretsmanager get-secret-value` and `batch-get-secret-value` write, one or many."""

from collections.abc import Iterable

from secrets_app.import_formats import json_text
from secrets_app.import_formats.entries import Entry, unreadable
from secrets_app.secret_types import SecretType


def parse_aws_file(text: str) -> list[Entry]:
    """Return the entries of an export of AWS Secrets Manager. Raises InvalidInput."""
    return [_entry(place, part) for place, part in enumerate(_replies(json_text.checked(text)), 1)]


def _replies(text: str) -> Iterable[str]:
    if json_text.is_array(text):
        return json_text.elements(text)
    if not json_text.is_object(text):
        raise unreadable("The file is not what AWS Secrets Manager writes.")
    parts = dict(json_text.members(text))
    values = parts.get("SecretValues", "")
    return json_text.elements(values) if json_text.is_array(values) else [text]


def _entry(place: int, text: str) -> Entry:
    parts = dict(json_text.members(text)) if json_text.is_object(text) else {}
    name = (json_text.plain_text(parts.get("Name", "null")) or "").lstrip("/")
    value = json_text.plain_text(parts.get("SecretString", "null"))
    if not name:
        return Entry(place=place, name="", fault="The entry has no Name.")
    if value is None:
        fault = "The entry has no SecretString; binary values have to be encoded as text first."
        return Entry(place=place, name=name, fault=fault)
    # Secrets Manager's own pages write key and value pairs as a JSON object in the string.
    kind = SecretType.JSON if value.lstrip().startswith("{") else None
    return Entry(place=place, name=name, value=value, secret_type=kind)
