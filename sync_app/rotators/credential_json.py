"""Database credentials as AWS's JSON: read, and written with another login.

The structure is the one of "JSON structure of AWS Secrets Manager secrets".
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
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
    """Return a value with some fields changed; the others stay as they are, in their order."""
    return json.dumps({**parse_object(value), **changes}, ensure_ascii=False)


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
