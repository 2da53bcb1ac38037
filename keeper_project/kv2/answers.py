"""The forms of the protocol: its envelope, its errors, and the facts of a version."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from django.http import HttpResponse

from audit_app.crypto.canonical_json import Json
from core.http.json import MEDIA_TYPE, JsonRenderer

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


def time_text(at: datetime | None) -> str:
    """Return a time as the protocol writes it (RFC 3339 with nanoseconds), "" for none."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z" if at else ""


def version_facts(number: int, created: datetime, *, deleted: datetime | None = None) -> dict[str, Json]:
    """Return the facts of a version besides its value, as the protocol names them."""
    return {
        "created_time": time_text(created),
        "custom_metadata": None,
        "deletion_time": time_text(deleted),
        "destroyed": False,
        "version": number,
    }
