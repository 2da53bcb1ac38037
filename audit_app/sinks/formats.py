"""How an event is written for a SIEM: Keeper's JSON, CEF 0 and OCSF 1.6.0, a line each.

A line depends on the event alone, so that one that is sent again is the same. Names are what people typed:
whatever they hold, a line stays one line, and a field stays one field.
"""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from audit_app.crypto.hash_chain import EventFields, Link
from audit_app.events.actions import Action, Outcome
from core.canonical_json import canonical_json, parsed_details

# ArcSight's limit of most texts, in bytes; longer ones end with an ellipsis.
_MOST_BYTES: Final = 1_023
_VERBS_OF_READS: Final = frozenset(
    {
        "view", "reveal", "export", "compare", "deliver", "share_open", "unwrap", "search", "verify",
        "download", "test", "connect", "open", "check", "generate", "refused",
    }
)  # fmt: skip
_CREATES: Final = frozenset({"create", "import", "migrate", "give", "inventory", "ask", "add"})
_DELETES: Final = frozenset(
    {"delete", "remove", "purge", "destroy", "withdraw", "wrap_purge", "prune", "share_revoke", "expire"}
)
_AUTHENTICATION, _ACCOUNT, _USER_ACCESS, _ENTITY, _API, _FINDING = 3002, 3001, 3005, 3004, 6003, 2004
# The OCSF class of an action's first word.
CLASSES: Final = MappingProxyType(
    dict.fromkeys(("session",), _AUTHENTICATION)
    | dict.fromkeys(("user", "second_factor", "group"), _ACCOUNT)
    | dict.fromkeys(("member", "access", "token", "trust", "saml_mapping"), _USER_ACCESS)
    | dict.fromkeys(("integrity",), _FINDING)
    | dict.fromkeys(
        (
            "environment", "sso_provider", "saml_metadata", "scim_client", "secret", "migration", "target",
            "rotation", "consent", "notification", "approval", "system", "process", "schedule", "data_key",
            "key_migration", "leak", "trail", "list", "stream", "backup", "report", "deployment", "restore",
            "configuration", "sink", "review",
        ),
        _ENTITY,
    )
)  # fmt: skip
_OF_ONE: Final[Mapping[str, int]] = MappingProxyType(
    {
        Action.TRUST_SIGN_IN: _AUTHENTICATION,
        Action.REFUSAL: _AUTHENTICATION,
        Action.TRAIL_RESUME: _FINDING,
        Action.SECRET_DECOY: _FINDING,
        Action.TOKEN_DECOY: _FINDING,
        Action.INTEGRITY_SWEEP: _API,
    }
)
_LOGON, _LOGOFF, _OTHER = 1, 2, 99
_ACTIVITIES: Final[Mapping[int, Mapping[str, int]]] = MappingProxyType(
    {
        _AUTHENTICATION: {"sign_in": _LOGON, "sign_out": _LOGOFF, "end": _LOGOFF},
        _ACCOUNT: {"create": 1, "offboard": 5},
        _USER_ACCESS: {
            "grant": 1, "issue": 1, "create": 1, "break_glass": 1, "confirm": 1,
            "revoke": 2, "expire": 2, "delete": 2, "purge": 2, "suspend": 2,
        },
        _FINDING: {"violation": 1, "resume": 1, "decoy": 1},
    }
)  # fmt: skip
# OCSF: informational, low, medium, high, critical; and what CEF names the same, of ten.
_READ, _CHANGE, _REFUSED, _EMERGENCY, _DAMAGE = 1, 2, 3, 4, 5
_CEF_SEVERITY: Final = MappingProxyType({_READ: 1, _CHANGE: 3, _REFUSED: 5, _EMERGENCY: 8, _DAMAGE: 10})


def json_line(link: Link) -> bytes:
    """Return an event as Keeper's own JSON."""
    fields = link.fields
    return _json(
        {
            "id": fields.uuid,
            "stream": fields.stream,
            "sequence": fields.sequence,
            "at": fields.at,
            "actor": {"kind": fields.actor_kind, "id": fields.actor_uuid, "name": fields.actor_name},
            "action": fields.action,
            "object": {"kind": fields.object_kind, "id": fields.object_uuid, "name": fields.object_name},
            "outcome": fields.outcome,
            "address": fields.address,
            "request_id": fields.request_id,
            "details": parsed_details(fields.details),
            "manifest": fields.manifest_digest,
            "hash": link.hash.hex(),
        }
    )


def cef_line(link: Link) -> bytes:
    """Return an event as ArcSight's Common Event Format, version 0."""
    fields, details = link.fields, parsed_details(link.fields.details)
    address = _ip(fields.address)
    source = {"c6a2": fields.address, "c6a2Label": "source"} if address and address.version == 6 else {}  # noqa: PLR2004 - IPv6
    if address and address.version == 4:  # noqa: PLR2004 - IPv4
        source = {"src": fields.address}
    extension = {
        "rt": milliseconds(fields),
        "externalId": fields.uuid,
        "act": fields.action,
        "outcome": fields.outcome,
        "suser": fields.actor_name,
        "suid": fields.actor_uuid,
        **source,
        "cs1": fields.stream, "cs1Label": "stream",
        "cn1": fields.sequence, "cn1Label": "sequence",
        "cs2": fields.actor_kind, "cs2Label": "actorKind",
        "cs3": fields.object_name, "cs3Label": "objectName",
        "cs4": fields.object_uuid, "cs4Label": "objectId",
        "cs5": fields.object_kind, "cs5Label": "objectKind",
        "cs6": fields.request_id, "cs6Label": "requestId",
        **_number(details, "cn2"),
        "flexString1": link.hash.hex(), "flexString1Label": "hash",
        "msg": fields.details if details else "",
    }  # fmt: skip
    header = (
        "Keeper", "Keeper", "1", fields.action, _label(fields.action), str(_CEF_SEVERITY[severity(fields)]),
    )  # fmt: skip
    text = " ".join(f"{key}={_value(value)}" for key, value in extension.items() if value != "")
    return f"CEF:0|{'|'.join(_header(part) for part in header)}|{text}\n".encode(errors="replace")


def ocsf_line(link: Link) -> bytes:
    """Return an event in the Open Cybersecurity Schema Framework, version 1.6.0."""
    fields, details = link.fields, parsed_details(link.fields.details)
    kind, activity = ocsf_class(fields.action)
    is_person = fields.actor_kind == "user"
    actor = {
        "uid": fields.actor_uuid,
        "name": fields.actor_name,
        "type_id": 1 if is_person else 3 if fields.actor_kind in {"token", "system"} else 0,
    }
    event: dict[str, Any] = {
        "category_uid": kind // 1000,
        "class_uid": kind,
        "activity_id": activity,
        "type_uid": kind * 100 + activity,
        "time": milliseconds(fields),
        "severity_id": severity(fields),
        "status_id": 1 if fields.outcome == Outcome.ALLOWED else 2,
        "status_detail": fields.outcome,
        "message": f"{_label(fields.action)}: {fields.object_name}",
        "metadata": {
            "version": "1.6.0",
            "product": {"name": "Keeper", "vendor_name": "Keeper"},
            "uid": fields.uuid,
            "sequence": fields.sequence,
            "event_code": fields.action,
        },
        "actor": {"user": actor},
        "src_endpoint": {"ip": fields.address}
        if _ip(fields.address)
        else {"name": fields.address or "keeper"},
        "unmapped": {
            "stream": fields.stream,
            "request_id": fields.request_id,
            "object": {"kind": fields.object_kind, "id": fields.object_uuid, "name": fields.object_name},
            "details": details,
            "manifest": fields.manifest_digest,
            "hash": link.hash.hex(),
        },
    }
    if activity == _OTHER:
        event["activity_name"] = _label(fields.action)
    if kind == _FINDING:
        # The class has no place for them.
        event["unmapped"] |= {"actor": event.pop("actor"), "src_endpoint": event.pop("src_endpoint")}
    return _json(event | _of_class(kind, fields, actor, details))


def _of_class(
    kind: int, fields: EventFields, actor: Mapping[str, Any], details: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the class of an event requires besides."""
    thing = {"uid": fields.object_uuid, "name": fields.object_name, "type": fields.object_kind}
    if kind == _API:
        request = {"request": {"uid": fields.request_id}} if fields.request_id else {}
        return {"api": {"operation": fields.action, **request}, "resources": [thing]}
    if kind == _ENTITY:
        return {"entity": thing}
    if kind == _FINDING:
        return {
            "finding_info": {"uid": fields.uuid, "title": f"{_label(fields.action)}: {fields.object_name}"}
        }
    if kind == _AUTHENTICATION:
        return {"user": dict(actor), "service": {"name": "Keeper"}}
    subject = {"uid": fields.object_uuid, "name": fields.object_name}
    if kind == _USER_ACCESS:
        return {"user": subject, "privileges": [str(details.get("role") or fields.action)]}
    return {"user": subject}


def ocsf_class(action: str) -> tuple[int, int]:
    """Return the OCSF class and activity of an action; a later release may have written one unknown here."""
    first, _, verb = action.partition(".")
    kind = _OF_ONE.get(action) or CLASSES.get(first, _ENTITY)
    if kind in {_ACCOUNT, _USER_ACCESS, _ENTITY} and verb in _VERBS_OF_READS:
        kind = _API
    if kind == _API:
        return kind, 2
    if kind == _ENTITY:
        return kind, 1 if verb in _CREATES else 4 if verb in _DELETES else 3
    return kind, _ACTIVITIES[kind].get(verb, _OTHER)


def severity(fields: EventFields) -> int:
    """Return how much an event matters, from 1 (a read) to 5 (damage)."""
    kind, activity = ocsf_class(fields.action)
    if kind == _FINDING:
        return _DAMAGE
    if fields.action == Action.BREAK_GLASS:
        return _EMERGENCY
    if fields.outcome != Outcome.ALLOWED:
        return _REFUSED
    return _READ if kind in {_API, _AUTHENTICATION} or (kind, activity) == (_ENTITY, 2) else _CHANGE


def milliseconds(fields: EventFields) -> int:
    """Return the time of an event, in milliseconds since 1970."""
    return round(datetime.fromisoformat(fields.at).timestamp() * 1000)


def _label(action: str) -> str:
    known = Action._value2member_map_.get(action)
    return known.label if isinstance(known, Action) else action


def _number(details: Mapping[str, Any], key: str) -> dict[str, Any]:
    number = details.get("number")
    return {key: number, f"{key}Label": "version"} if isinstance(number, int) else {}


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _header(text: str) -> str:
    return _printable(text).replace("\n", " ").replace("\r", " ").replace("\\", "\\\\").replace("|", "\\|")


def _value(value: object) -> str:
    text = _printable(_cut(str(value))).replace("\\", "\\\\").replace("=", "\\=")
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _printable(text: str) -> str:
    """Drop control characters, except the two that are written as an escape."""
    return "".join(sign for sign in text if sign in "\n\r" or (sign >= " " and not "\x7f" <= sign <= "\x9f"))


def _cut(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= _MOST_BYTES:
        return text
    return raw[: _MOST_BYTES - 3].decode(errors="ignore") + "…"


def _json(value: object) -> bytes:
    return canonical_json(value) + b"\n"


FORMATS: Final[Mapping[str, Callable[[Link], bytes]]] = MappingProxyType(
    {"json": json_line, "cef": cef_line, "ocsf": ocsf_line}
)
