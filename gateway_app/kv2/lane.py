"""The plain read of a value by the KV v2 protocol, served by the read engine as that of the REST API is.

A test holds it together with the general path, which answers whatever this leaves.
"""

import re
from typing import Final

from django.core.handlers.wsgi import get_path_info
from django.http import HttpResponse

from core.http.json import JsonRenderer
from core.http.problems import Problem
from core.http.requests import Environ, Headers
from gateway_app.engine.reads import ReadRequest
from gateway_app.kv2.answers import PROTOCOL, envelope, fields_of, respond, version_facts
from gateway_app.kv2.mounts import OWN
from gateway_app.lanes import PlainRead, caller_of, is_plain
from secrets_app.rows.raw_secrets import SecretRow

_DATA: Final = re.compile(r"/vault/v1/([^/]+)/data/(.+)")
# Those of a request that the general path refuses.
_REFUSED: Final = ("HTTP_X_VAULT_NAMESPACE", "HTTP_X_VAULT_WRAP_TTL")
_VIEW: Final = "kv2-data"
_RENDERER: Final = JsonRenderer()


def kv2_read(environ: Environ) -> PlainRead | None:
    """Return the plain read that a request of the protocol is."""
    token = environ.get("HTTP_X_VAULT_TOKEN", "") or _bearer(environ.get("HTTP_AUTHORIZATION", ""))
    if not token or not is_plain(environ) or any(environ.get(name) for name in _REFUSED):
        return None
    found = _DATA.fullmatch(get_path_info(environ))
    caller = caller_of(environ, token) if found else None
    if found is None or caller is None:
        return None
    mount, name = found.groups()
    environment = "" if mount == OWN else mount
    request = ReadRequest(*caller, environment=environment, name=name, details=PROTOCOL)
    return PlainRead(request, _VIEW, _headers, _body, _failed)


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token if scheme == "Bearer" else ""


def _headers(_etag: str) -> Headers:
    return []


def _body(secret: SecretRow, value: str) -> bytes:
    facts = version_facts(secret.current_number, secret.version_created_at)
    fields = fields_of(secret.secret_type, value)
    return _RENDERER.render(envelope({"data": fields, "metadata": facts}))


def _failed(problem: Problem) -> HttpResponse:
    return respond({"errors": [problem.detail]}, status=problem.status)
