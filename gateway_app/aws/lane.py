"""The plain GetSecretValue, served by the read engine as reads by the REST API are.

It takes the current value of a secret by its name. A test holds it together with the general path, which
answers whatever this leaves.
"""

import io
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.core.handlers.wsgi import get_path_info
from django.http import HttpResponse

from audit_app.interfaces import keyring
from core.http.json import JsonRenderer
from core.http.problems import Problem
from core.http.requests import Environ, Headers
from environments_app.errors import BadToken
from gateway_app.aws.answers import MEDIA_TYPE, NOT_DECRYPTED, PROTOCOL, SignatureRefused, seconds
from gateway_app.aws.names import CURRENT, arn_of
from gateway_app.aws.signed_requests import proven
from gateway_app.aws.sigv4 import Authorization
from gateway_app.aws.views import MAX_BODY, TARGET
from gateway_app.engine.reads import ReadRequest
from gateway_app.lanes import Head, PlainRead, origin_of
from secrets_app.rows.raw_secrets import SecretRow

_TARGET: Final = f"{TARGET}GetSecretValue"
# The routes' names, by their addresses.
_VIEWS: Final = {"/aws": "aws", "/aws/": "aws-root"}
_RENDERER: Final = JsonRenderer()


def aws_read(environ: Environ) -> PlainRead | None:
    """Return the plain read that a signed request is."""
    if environ.get("HTTP_X_AMZ_TARGET") != _TARGET or environ["REQUEST_METHOD"] != "POST":
        return None
    view, body = _VIEWS.get(get_path_info(environ), ""), environ["wsgi.input"]
    if not view or environ.get("CONTENT_TYPE") != MEDIA_TYPE or not isinstance(body, io.BytesIO):
        return None
    # The signature is checked here, and its key is sealed.
    if environ.get("QUERY_STRING") or not keyring().is_at_hand:
        return None
    head, sent = Head(environ), body.getvalue()
    name = _name_in(sent)
    origin = origin_of(head) if name else None
    found = _signed(head, sent) if origin else None
    if not origin or not found:
        return None
    given, public_id = found
    request = ReadRequest(public_id, None, *origin, name=name, details=PROTOCOL)
    answer = _Answer(given.region, request.request_id)
    return PlainRead(request, view, answer.headers, answer.body, answer.fail, "POST", MEDIA_TYPE)


class _Answer:
    """How the protocol answers one request."""

    def __init__(self, region: str, request_id: str) -> None:
        self._region = region
        self._id = ("x-amzn-RequestId", request_id)

    def headers(self, _etag: str) -> Headers:
        return [self._id]

    def body(self, secret: SecretRow, value: str) -> bytes:
        document = {
            "ARN": arn_of(self._region, secret.environment, secret.name, secret.uuid),
            "Name": secret.name,
            "VersionId": str(secret.version),
            "SecretString": value,
            "VersionStages": [CURRENT],
            "CreatedDate": seconds(secret.version_created_at),
        }
        return _RENDERER.render(document)

    def fail(self, _problem: Problem) -> HttpResponse:
        body = _RENDERER.render({"__type": "DecryptionFailure", "Message": NOT_DECRYPTED})
        headers = dict([self._id])
        return HttpResponse(body, status=HTTPStatus.BAD_REQUEST, content_type=MEDIA_TYPE, headers=headers)


def _name_in(body: bytes) -> str:
    """Return the name of the secret whose current value is asked for, "" if something else is."""
    try:
        given: Any = orjson.loads(body) if len(body) <= MAX_BODY else None
    except orjson.JSONDecodeError:
        return ""
    name = given.get("SecretId") if isinstance(given, dict) and len(given) == 1 else None
    return name if isinstance(name, str) and not name.startswith("arn:") else ""


def _signed(head: Head, body: bytes) -> tuple[Authorization, str] | None:
    """Return how a request is signed, and the public id of its token; None if it proves nothing."""
    head.method, head.path, head._body = "POST", get_path_info(head.META), body  # noqa: SLF001 - as HttpRequest keeps it
    try:
        given, session = proven(head)
    except (SignatureRefused, BadToken):
        return None
    return given, session.public_id
