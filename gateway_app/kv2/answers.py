"""Forms of the protocol: its envelope, its errors, the facts of a version, and secrets as its objects.

A JSON object is its fields; any other value is under `value`.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import orjson
from django.http import HttpResponse

from core.canonical_json import Json
from core.http.json import MEDIA_TYPE, AmbiguousJson, JsonRenderer, load_unique
from secrets_app.errors import InvalidValue
from secrets_app.models import Secret
from secrets_app.services.read import RevealedValue
from secrets_app.types.json_document import check_depth, inspect_json
from secrets_app.types.registry import SecretType

DENIED = "permission denied"


class Kv2Error(Exception):
    """A request that is answered with a status and the protocol's list of errors, or with other members."""

    def __init__(self, status: HTTPStatus, *errors: str, **members: Json) -> None:
        super().__init__(", ".join(errors))
        self.status = status
        self.body: dict[str, Json] = {**members} if members else {"errors": list(errors)}


def missing() -> Kv2Error:
    """Return what a name that does not exist is answered with."""
    return Kv2Error(HTTPStatus.NOT_FOUND)


def denied() -> Kv2Error:
    """Return what a caller without the right is answered with, whether or not there is something."""
    return Kv2Error(HTTPStatus.FORBIDDEN, DENIED)


def envelope(data: Any = None, *, auth: Json = None) -> dict[str, Any]:
    """Return the members that every answer of the protocol has."""
    return {
        "request_id": str(uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": auth,
    }


def respond(body: Any, *, status: int = HTTPStatus.OK) -> HttpResponse:
    """Return a response with a JSON body."""
    return HttpResponse(JsonRenderer().render(body), status=status, content_type=MEDIA_TYPE)


def no_content() -> HttpResponse:
    """Return the response to an act without a result."""
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def nothing() -> HttpResponse:
    """Return the response to a patch of what does not exist, which has no body."""
    return HttpResponse(status=HTTPStatus.NOT_FOUND)


def time_text(at: datetime | None) -> str:
    """Return a time as the protocol writes it (RFC 3339 with nanoseconds), "" for none."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z" if at else ""


def version_facts(
    number: int,
    created: datetime,
    *,
    deleted: datetime | None = None,
    destroyed: bool = False,
    custom: Json = None,
) -> dict[str, Json]:
    """Return the facts of a version besides its value, as the protocol names them."""
    return {
        "created_time": time_text(created),
        "custom_metadata": custom,
        "deletion_time": time_text(deleted),
        "destroyed": destroyed,
        "version": number,
    }


def facts_of(shown: RevealedValue) -> dict[str, Json]:
    """Return the facts of a version that was read."""
    version = shown.version
    written = version.written_at or version.created_at
    ends = shown.secret.rules.deleted.get(version.number)
    return version_facts(version.number, written, deleted=ends, custom=shown.secret.custom_metadata)


def revealed(shown: RevealedValue) -> dict[str, Any]:
    """Return a version that was read as `data` answers it."""
    return {"data": fields_of(shown.secret_type, shown.value), "metadata": facts_of(shown)}


# What the events of reads hold besides the version.
PROTOCOL: Final[Mapping[str, Json]] = {"protocol": "kv-v2"}
_VALUE: Final = "value"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
# More is no number of the protocol.
_LARGEST: Final = 2**63
_NO_DATA: Final = "no data provided"
_ROUNDED: Final = "a number has more digits than a reader keeps: send it as text. Nothing was stored."
# What Go takes for true and for false: hvac sends `True`, node-vault 1.
TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE: Final = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})
CAS_DIFFERS: Final = "check-and-set parameter did not match the current version"
CAS_MISSING: Final = "check-and-set parameter required for this call"


def fields_of(secret_type: str, value: str) -> dict[str, str] | orjson.Fragment:
    """Return the object that a value of a type is read as; a JSON object goes out to the letter."""
    return orjson.Fragment(value) if _is_object(secret_type, value) else {_VALUE: value}


def members_of(secret_type: str, value: str) -> dict[str, Any]:
    """Return the members of the object that a value is read as. Raises Kv2Error as `parsed` does."""
    found: dict[str, Any] = _exactly(value) if _is_object(secret_type, value) else {_VALUE: value}
    return found


def _is_object(secret_type: str, value: str) -> bool:
    """Return whether a value is a JSON object; one from before Keeper kept former types may be anything."""
    if secret_type != SecretType.JSON:
        return False
    try:
        return isinstance(orjson.loads(value), dict)
    except orjson.JSONDecodeError:
        pass
    try:
        # It takes numbers of any size.
        return inspect_json(value)["kind"] == "object"
    except InvalidValue:
        return False


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, each number as it was written.

    Raises Kv2Error, for a number that would be rounded as well, and InvalidValue beyond 64 levels.
    """
    try:
        load_unique(body)
    except (orjson.JSONDecodeError, AmbiguousJson) as error:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "error parsing JSON") from error
    text = body.decode()
    check_depth(text)
    # Go's client sends null for no body.
    found = {} if text.strip() == "null" else _exactly(text)
    if not isinstance(found, dict):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "error parsing JSON: an object is expected")
    return found


def _exactly(text: str) -> Any:
    return json.loads(text, parse_float=_exact)


def _exact(text: str) -> float:
    number = float(text)
    if Decimal(repr(number)) != Decimal(text):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _ROUNDED)
    return number


def stored_form(fields: Mapping[str, Any], secret: Secret | None) -> tuple[str, SecretType | None]:
    """Return an object as a value, and the type of secret that it takes; None keeps the type."""
    is_json = secret is not None and secret.secret_type == SecretType.JSON
    # A text of Keeper is never empty; an object may hold one that is.
    is_empty = fields.get(_VALUE) == "" and (secret is None or secret.secret_type == SecretType.TEXT)
    if fields.keys() == {_VALUE} and isinstance(fields[_VALUE], str) and not is_json and not is_empty:
        return fields[_VALUE], None if secret else SecretType.TEXT
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")), SecretType.JSON


def given_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that a request writes. Raises Kv2Error."""
    fields = body.get("data")
    if not isinstance(fields, dict):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_DATA)
    return fields


def given_cas(body: Mapping[str, Any]) -> int | None:
    """Return the version that a writer has seen, 0 for none, None if it names none. Raises Kv2Error."""
    options = body.get("options")
    if options in (None, []):
        return None
    if not isinstance(options, dict):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "options is an object. Nothing was stored.")
    if "cas" not in options:
        return None
    return 0 if options["cas"] is None else whole_number(options["cas"], "cas")


def whole_number(given: Any, name: str) -> int:
    """Return a number that clients send as one or as text. Raises Kv2Error."""
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) < _LARGEST:
        return given
    if isinstance(given, str) and _NUMBER.fullmatch(given):
        return int(given)
    raise Kv2Error(HTTPStatus.BAD_REQUEST, f"{name} is not a number")


def given_flag(given: Any, name: str) -> bool:
    """Return a flag that clients send as one, as a number or in Go's words. Raises Kv2Error."""
    if isinstance(given, bool | int):
        return bool(given)
    if isinstance(given, str) and given in TRUE | FALSE:
        return given in TRUE
    raise Kv2Error(HTTPStatus.BAD_REQUEST, f"{name} is true or false")


def merged(stored: Any, change: Any) -> Any:
    """Return what a merge patch makes of a value (RFC 7396, section 2)."""
    if not isinstance(change, dict):
        return change
    found = dict(stored) if isinstance(stored, dict) else {}
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found
