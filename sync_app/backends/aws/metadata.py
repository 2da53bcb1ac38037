"""Parses the metadata of Secrets Manager and Parameter Store, and judges the names of parameters."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import orjson

from sync_app.backends.observations import SecretMetadata, format_version, parse_mark
from sync_app.domain.reconciliation import Presence

CURRENT: Final = "AWSCURRENT"
# What Keeper reads of an answer of ListSecrets.
_LIST_MEMBERS: Final = ("SecretList", "NextToken")


def take_lists_as_json(client: Any) -> None:
    """Have a client return the lists of ListSecrets as AWS sent them.

    The SDK copies each tag and converts each time, which takes as long as all else that a list costs here.
    """
    client.meta.events.register("before-parse.secrets-manager.ListSecrets", _take_list)


def _take_list(
    *, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    """Put what a list holds into the answer, and leave nothing of it to the SDK.

    What is no such answer is left to the SDK as it came.
    """
    if response_dict["status_code"] != HTTPStatus.OK:
        return
    try:
        body = orjson.loads(response_dict["body"])
    except ValueError:
        return
    if isinstance(body, dict):
        customized_response_dict.update({name: body[name] for name in _LIST_MEMBERS if name in body})
        response_dict["body"] = b"{}"


def parse_list_entry(name: str, entry: Mapping[str, Any]) -> SecretMetadata:
    """Parse an entry of ListSecrets."""
    return parse_description(name, entry, entry.get("SecretVersionsToStages") or {})


def parse_description(name: str, entry: Mapping[str, Any], stages: Mapping[str, Any]) -> SecretMetadata:
    """Parse a reply; `stages` are the labels of each version."""
    current = [version for version, labels in stages.items() if CURRENT in labels]
    tags = {tag["Key"]: tag["Value"] for tag in entry.get("Tags") or []}
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT if entry.get("DeletedDate") is None else Presence.DELETED,
        remote_id=entry["ARN"],
        version=current[0] if current else "",
        mark=parse_mark(tags),
    )


# PutParameter, "Name".
MAX_NAME_LENGTH: Final = 1011
MAX_LEVELS: Final = 15
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.-]+")
_RESERVED: Final = ("aws", "ssm")


def explain_bad_name(path: str) -> str:
    """Return why Parameter Store takes no parameter of this full name; empty if it does."""
    segments = path.removeprefix("/").split("/")
    if not all(map(_SEGMENT.fullmatch, segments)):
        return "Parameter Store takes only letters, digits and _.- between slashes: rename the secret"
    if len(segments) > MAX_LEVELS:
        return f"Parameter Store takes {MAX_LEVELS} levels between slashes at most: rename the secret"
    if len(path) > MAX_NAME_LENGTH:
        return f"name and prefix are longer than the {MAX_NAME_LENGTH:,} characters of Parameter Store"
    if segments[0].lower().startswith(_RESERVED):
        return "Parameter Store reserves names that begin with aws or ssm: choose another prefix"
    return ""


def parse_parameter(name: str, entry: Mapping[str, Any]) -> SecretMetadata:
    """Parse a parameter without its tags; its number alone is used again after a deletion."""
    changed: datetime = entry["LastModifiedDate"]
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=entry["Name"],
        version=format_version(int(entry["Version"]), f"{changed.timestamp():.3f}"),
    )
