"""Reads what Vault and OpenBao write: `kv get -format=json`, and trees of paths as JSON or YAML.

A secret of Vault is an object of fields. One with the field `value` alone, which is how Keeper's own
sync writes there, becomes its value; any other becomes a JSON secret of its fields.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import yaml

from secrets_app.importing.formats import json as json_tokens_format
from secrets_app.importing.formats.entries import Entry, unreadable
from secrets_app.importing.formats.json import named
from secrets_app.importing.formats.yaml import check_yaml
from secrets_app.types.registry import SecretType

_MAX_DEPTH: Final = 20
_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_ALONE: Final = "value"


def parse_vault_file(text: str) -> list[Entry]:
    """Return the entries of a Vault export. Raises InvalidInput."""
    bare = text.removeprefix("\ufeff").lstrip()
    if not bare.startswith(("{", "[")):
        check_yaml(text)
        # Read as text alone: Vault's fields are text, and 0123 is no number there.
        tree = yaml.load(text, Loader=_LOADER)  # noqa: S506 - the base loader makes text, lists and dicts alone
        text = json.dumps(tree, ensure_ascii=False)
    text = json_tokens_format.checked(text)
    if json_tokens_format.is_array(text):
        replies = json_tokens_format.elements(text)
        return [entry for place, part in enumerate(replies, 1) for entry in _of_reply(place, part)]
    if not json_tokens_format.is_object(text):
        raise unreadable("The file is not what Vault writes.")
    return [replace(entry, place=place) for place, entry in enumerate(_of_reply(1, text), 1)]


def _of_reply(place: int, text: str) -> Iterator[Entry]:
    """Yield the entries of a reply of `kv get`, optionally with its path, or of a tree."""
    if not json_tokens_format.is_object(text):
        yield Entry(place=place, name="", fault="The element is no reply of Vault.")
        return
    parts = dict(json_tokens_format.members(text))
    data = parts.get("data", "")
    inner = dict(json_tokens_format.members(data)) if json_tokens_format.is_object(data) else {}
    if "request_id" not in parts and "path" not in parts:
        yield from _walk(text, "", 0)
    elif json_tokens_format.is_object(inner.get("data", "")):
        yield _secret(_path_of(parts), inner["data"])
    elif json_tokens_format.is_object(data):
        yield _secret(_path_of(parts), data)
    else:
        yield Entry(place=place, name="", fault="The reply holds no data: the version may be deleted.")


def _path_of(parts: dict[str, str]) -> str:
    return (json_tokens_format.plain_text(parts.get("path", "null")) or "").strip("/")


def _walk(text: str, path: str, depth: int) -> Iterator[Entry]:
    if depth > _MAX_DEPTH:
        raise unreadable(f"The paths are deeper than {_MAX_DEPTH} parts.")
    for name, part in json_tokens_format.members(text):
        inside = f"{path}/{name.strip('/')}".lstrip("/")
        if not json_tokens_format.is_object(part):
            yield named(1, inside, part)
        elif any(not json_tokens_format.is_object(each) for _, each in json_tokens_format.members(part)):
            # Fields rather than further paths.
            yield _secret(inside, part)
        else:
            yield from _walk(part, inside, depth + 1)


def _secret(path: str, text: str) -> Entry:
    fields = json_tokens_format.members(text)
    if [name for name, _ in fields] == [_ALONE] and not json_tokens_format.is_object(fields[0][1]):
        return named(1, path, fields[0][1])
    return Entry(place=1, name=path, value=text, secret_type=SecretType.JSON)
