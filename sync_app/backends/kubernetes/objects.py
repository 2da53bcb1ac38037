"""What a Secret of Kubernetes is: its name, its keys, its metadata."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from sync_app.backends.objects import parse_object, render_object
from sync_app.backends.observations import VERSION_SEPARATOR, SecretMetadata, parse_mark
from sync_app.domain.reconciliation import Presence
from sync_app.errors import ValueUnusable

FIELD: Final = "value"
MANAGER: Final = "keeper"
# Which of Keeper's writes made the present content, and which name of Keeper's the object has.
WRITE: Final = "keeper/write"
NAME: Final = "keeper/name"
WRITE_DIGITS: Final = 24
# RFC 1123 subdomain ("Object Names and IDs").
MAX_NAME_LENGTH: Final = 253
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class Objects(StrEnum):
    """What a target's rule makes of a JSON object whose members are texts."""

    KEYS = "keys"
    VALUE = "value"


def object_name(path: str) -> str:
    """Return the name of the Secret for a path: lower case, dots for slashes, hyphens for underscores."""
    return path.lower().replace("/", ".").replace("_", "-")


def explain_bad_name(name: str) -> str:
    """Return why Kubernetes takes no object of this name; empty if it does."""
    if len(name) > MAX_NAME_LENGTH:
        return f"name and prefix are longer than the {MAX_NAME_LENGTH} characters of Kubernetes"
    if not _NAME.fullmatch(name):
        return f"Kubernetes takes only letters, digits and - between dots, and not {name}: rename the secret"
    return ""


def to_data(value: str, rule: Objects) -> dict[str, str]:
    """Return the keys of a value, in Base64.

    The members of an object are its keys if each is a text and has a name that Kubernetes takes.
    """
    members = parse_object(value) if rule is Objects.KEYS else None
    if not members or set(members) == {FIELD} or not all(map(_is_key, members.items())):
        members = {FIELD: value}
    return {key: base64.b64encode(text.encode()).decode() for key, text in members.items()}


def to_text(data: Mapping[str, str]) -> str:
    """Return the value of keys. Raises ValueUnusable if one is no text in UTF-8."""
    try:
        members = {key: base64.b64decode(text, validate=True).decode() for key, text in data.items()}
    except (UnicodeDecodeError, binascii.Error):
        raise ValueUnusable("a key of the Secret holds binary data, which Keeper does not sync") from None
    return members[FIELD] if set(members) == {FIELD} else render_object(members)


def parse_metadata(name: str, found: Mapping[str, Any]) -> SecretMetadata:
    """Parse the metadata of an object.

    The version is the resource version, behind the name of the write of Keeper's that came last, and before
    the time of the last change: a cluster that was restored from a snapshot uses resource versions again.
    """
    metadata = found["metadata"]
    write = (metadata.get("annotations") or {}).get(WRITE, "")
    changed = max((str(entry.get("time") or "") for entry in metadata.get("managedFields") or []), default="")
    version = f"{write[:WRITE_DIGITS]}{VERSION_SEPARATOR}{metadata['resourceVersion']}"
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=metadata["uid"],
        version=f"{version}{VERSION_SEPARATOR}{changed}" if changed else version,
        mark=parse_mark(metadata.get("labels") or {}),
    )


def precedes(version: str, other: str) -> bool:
    """Return whether a version is of a lower resource version than another, and was not changed after it."""
    number, changed = _number_and_time(version)
    last, changed_last = _number_and_time(other)
    in_order = number.isdecimal() and last.isdecimal() and int(number) < int(last)
    return in_order and bool(changed) and changed <= changed_last


def _number_and_time(version: str) -> tuple[str, str]:
    number, _, changed = version.partition(VERSION_SEPARATOR)[2].partition(VERSION_SEPARATOR)
    return number, changed


def resource_version(version: str) -> str:
    """Return the resource version of a version."""
    return version.split(VERSION_SEPARATOR)[1]


def foreign_keys(found: Mapping[str, Any]) -> set[str]:
    """Return the keys of a Secret that other field managers set and Keeper did not."""
    theirs = _keys_of(found, lambda entry: entry.get("manager") != MANAGER)
    return theirs - _keys_of(found, lambda entry: entry.get("manager") == MANAGER)


def left_out(found: Mapping[str, Any], data: Mapping[str, str]) -> set[str]:
    """Return the keys that Keeper set, that new data leaves out, and that applying the data would not remove.

    Server-side apply removes what its manager applied before, and not what that set by creating the object.
    """
    kept = {*data} | _keys_of(found, lambda entry: entry.get("manager") != MANAGER)
    made = _keys_of(found, lambda entry: entry.get("manager") == MANAGER and entry["operation"] != "Apply")
    if not made - kept:
        return set()
    return _keys_of(found, lambda entry: entry.get("manager") == MANAGER) - kept


def _keys_of(found: Mapping[str, Any], chosen: Callable[[Mapping[str, Any]], bool]) -> set[str]:
    keys = set()
    for entry in found["metadata"].get("managedFields") or []:
        if chosen(entry):
            fields = (entry.get("fieldsV1") or {}).get("f:data") or {}
            keys |= {name.removeprefix("f:") for name in fields if name.startswith("f:")}
    return keys & set(found.get("data") or {})


def _is_key(member: tuple[str, Any]) -> bool:
    name, text = member
    return isinstance(text, str) and _KEY.fullmatch(name) is not None and name not in {".", ".."}
