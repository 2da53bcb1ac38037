"""The KV v2 protocol (/vault), and its door: the plain read of a value."""

from typing import Final

from django.http import HttpRequest, HttpResponse

from core.http.problems import Problem
from gateway_app.engine.reads import ReadRequest
from gateway_app.kv2.answers import PROTOCOL, envelope, fields_of, respond, version_facts
from gateway_app.kv2.mounts import OWN
from gateway_app.kv2.openapi import COMPONENTS, describe
from gateway_app.kv2.urls import urlpatterns
from gateway_app.lanes import PlainRead, Route, bearer, caller_of, is_plain
from gateway_app.protocol import Protocol
from secrets_app.rows.raw_secrets import SecretRow

_DATA: Final = Route("kv2-data")
# The view refuses a request that has one of these.
_REFUSED: Final = ("HTTP_X_VAULT_NAMESPACE", "HTTP_X_VAULT_WRAP_TTL")


def read(request: HttpRequest) -> PlainRead | None:
    """Recognise the plain read of a value."""
    found = _DATA.match(request) if is_plain(request) else None
    if found is None or any(request.META.get(name) for name in _REFUSED):
        return None
    caller = caller_of(request, request.META.get("HTTP_X_VAULT_TOKEN", "") or bearer(request))
    if caller is None:
        return None
    environment = "" if found["mount"] == OWN else found["mount"]
    asked = ReadRequest(*caller, environment=environment, name=found["path"], details=PROTOCOL)
    return PlainRead(asked, _DATA, _answer, _fail)


def _answer(secret: SecretRow, value: str) -> HttpResponse:
    facts = version_facts(secret.current_number, secret.version_created_at)
    return respond(envelope({"data": fields_of(secret.secret_type, value), "metadata": facts}))


def _fail(problem: Problem) -> HttpResponse:
    return respond({"errors": [problem.detail]}, status=problem.status)


KV2: Final = Protocol("vault/", urlpatterns, (read,), describe, COMPONENTS)
