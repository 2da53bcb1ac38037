"""Reads JSON files: an object of name → value, or an array of objects as the API takes them."""

from typing import Final, cast

from django.utils.dateparse import parse_datetime

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats import json_tokens as json_tokens_format
from secrets_app.importing.formats.entries import Entry, unreadable
from secrets_app.secret_types.registry import SecretType, parse_secret_type
from secrets_app.values.metadata import Metadata

NULL: Final = "The value is null: give one, or leave the entry out."
_TEXTS: Final = ("description", "owner")


def parse_json_file(text: str) -> list[Entry]:
    """Return the entries of a JSON file. Raises InvalidInput."""
    text = json_tokens_format.checked(text)
    if json_tokens_format.is_object(text):
        return [
            named(place, name, part) for place, (name, part) in enumerate(json_tokens_format.members(text), 1)
        ]
    if json_tokens_format.is_array(text):
        return [_described(place, part) for place, part in enumerate(json_tokens_format.elements(text), 1)]
    raise unreadable("The file holds one plain value: give an object of name and value.")


def named(place: int, name: str, part: str) -> Entry:
    """Return the entry of a name and the JSON text of its value; an object or array stays JSON."""
    if json_tokens_format.is_object(part) or json_tokens_format.is_array(part):
        return Entry(place=place, name=name, value=part, secret_type=SecretType.JSON)
    value = json_tokens_format.plain_text(part)
    if value is None:
        return Entry(place=place, name=name, fault=NULL)
    return Entry(place=place, name=name, value=value)


def _described(place: int, part: str) -> Entry:
    if not json_tokens_format.is_object(part):
        return Entry(place=place, name="", fault="The element is not an object with name and value.")
    parts = dict(json_tokens_format.members(part))
    name = json_tokens_format.plain_text(parts.get("name", "null"))
    if name is None:
        return Entry(place=place, name="", fault="The element has no name.")
    entry = named(place, name, parts.get("value", "null"))
    kind = json_tokens_format.plain_text(parts.get("secret_type", parts.get("type", "null")))
    try:
        return Entry(
            place=place,
            name=name,
            value=entry.value,
            secret_type=parse_secret_type(kind) if kind else entry.secret_type,
            metadata=_metadata(parts),
            fault=entry.fault,
        )
    except InvalidInput as error:
        return Entry(place=place, name=name, fault=error.reason)


def _metadata(parts: dict[str, str]) -> Metadata:
    metadata: dict[str, object] = {}
    for field in _TEXTS:
        text = json_tokens_format.plain_text(parts.get(field, "null"))
        if text is not None:
            metadata[field] = text
    tags = parts.get("tags", "null")
    if json_tokens_format.is_array(tags):
        metadata["tags"] = [
            json_tokens_format.plain_text(tag) or "" for tag in json_tokens_format.elements(tags)
        ]
    if (until := json_tokens_format.plain_text(parts.get("expires_at", "null"))) is not None:
        metadata["expires_at"] = moment(until)
    return cast("Metadata", metadata)


def moment(text: str) -> object:
    """Return the time that ISO 8601 text with a zone names. Raises InvalidInput."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise InvalidInput("expires_at", "The expiry is not a time in ISO 8601 with its zone.")
    return found
