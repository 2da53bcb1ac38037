"""Database credentials as AWS's JSON: read, and written with another login.

The structure is the one of "JSON structure of AWS Secrets Manager secrets".
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from json import JSONDecoder
from typing import Any

from sync_app.errors import ValueUnusable


@dataclass(frozen=True, kw_only=True)
class DatabaseCredential:
    """The fields of a value that a login needs; the policy, not the value, decides the server."""

    username: str
    password: str = field(repr=False)
    dbname: str = ""


def parse_credential(value: str, *, engines: Collection[str]) -> DatabaseCredential:
    """Return the credential in a value.

    Raises ValueUnusable, without the value, if it is none, or one of another engine.
    """
    fields = parse_object(value)
    if fields.get("engine", min(engines)) not in engines:
        raise ValueUnusable(f"the value's engine is not {' or '.join(sorted(engines))}")
    return DatabaseCredential(
        username=require_text(fields, "username"),
        password=require_text(fields, "password"),
        dbname=require_text(fields, "dbname") if fields.get("dbname") else "",
    )


def replace_fields(value: str, **changes: str) -> str:
    """Return a value with some fields changed, or added at the end; every other character stays."""
    parse_object(value)
    decoder, parts, copied, left = JSONDecoder(), [], 0, dict(changes)
    at = _skip(value, _skip(value, 0) + 1)
    end = at
    while value[at] != "}":
        name, at = decoder.raw_decode(value, at)
        begin = _skip(value, _skip(value, at) + 1)
        _, end = decoder.raw_decode(value, begin)
        # A name that is there twice is changed twice: programs differ in which one they read.
        if name in changes:
            parts += [value[copied:begin], json.dumps(changes[name], ensure_ascii=False)]
            copied = end
            left.pop(name, None)
        at = _skip(value, end)
        if value[at] == ",":
            at = _skip(value, at + 1)
    parts.append(value[copied:end])
    if left:
        added = json.dumps(left, ensure_ascii=False)[1:-1]
        parts.append(f", {added}" if parse_object(value) else added)
    return "".join((*parts, value[end:]))


def _skip(value: str, at: int) -> int:
    """Return where the next character is that is no blank of JSON."""
    while value[at] in " \t\n\r":
        at += 1
    return at


def parse_object(value: str) -> dict[str, Any]:
    """Return a value's fields. Raises ValueUnusable if it is not a JSON object."""
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ValueUnusable("the value is not a JSON object, which this rotator keeps credentials in")
    return fields


def require_text(fields: dict[str, Any], name: str) -> str:
    """Return a field. Raises ValueUnusable if it is missing, or not a text."""
    found = fields.get(name)
    if not isinstance(found, str) or not found or "\0" in found:
        raise ValueUnusable(f"the value has no text in its field {name}")
    return found
