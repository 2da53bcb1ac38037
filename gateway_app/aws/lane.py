"""The protocol of AWS Secrets Manager (/aws): its addresses, and its door, a current value by its name."""

import io
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import path

from audit_app.interfaces import keyring
from core.http.json import AmbiguousJson, JsonRenderer, load_unique
from core.http.problems import Problem
from environments_app.errors import BadToken
from gateway_app.aws.answers import MEDIA_TYPE, NOT_DECRYPTED, PROTOCOL, SignatureRefused, seconds
from gateway_app.aws.names import CURRENT, arn_of
from gateway_app.aws.openapi import COMPONENTS, describe
from gateway_app.aws.signed_requests import ContainerCredentialsView, proven
from gateway_app.aws.sts import StsView
from gateway_app.aws.views import MAX_BODY, TARGET, OperationsView
from gateway_app.engine.reads import ReadRequest
from gateway_app.lanes import PlainRead, Route, origin_of
from gateway_app.protocol import Protocol
from secrets_app.rows.raw_secrets import SecretRow

_TARGET: Final = f"{TARGET}GetSecretValue"
_ROUTES: Final = (Route("aws"), Route("aws-root"))


def read(request: HttpRequest) -> PlainRead | None:
    """Recognise the plain read that a signed request is."""
    meta, body = request.META, request.META["wsgi.input"]
    if meta.get("HTTP_X_AMZ_TARGET") != _TARGET or request.method != "POST" or meta.get("QUERY_STRING"):
        return None
    route = next((route for route in _ROUTES if route.match(request) is not None), None)
    if route is None or meta.get("CONTENT_TYPE") != MEDIA_TYPE or not isinstance(body, io.BytesIO):
        return None
    name = _name_in(body.getvalue())
    # The signature is checked here, and its key is sealed.
    origin = origin_of(request) if name and keyring().is_at_hand else None
    if origin is None:
        return None
    try:
        signature, session = proven(request)
    except (SignatureRefused, BadToken):
        return None
    finally:
        # The view reads the body again.
        body.seek(0)
    identity = {"x-amzn-RequestId": origin[1]}

    def answer(secret: SecretRow, value: str) -> HttpResponse:
        document = {
            "ARN": arn_of(signature.region, secret.environment, secret.name, secret.uuid),
            "Name": secret.name,
            "VersionId": str(secret.version),
            "SecretString": value,
            "VersionStages": [CURRENT],
            "CreatedDate": seconds(secret.version_created_at),
        }
        return HttpResponse(JsonRenderer().render(document), content_type=MEDIA_TYPE, headers=identity)

    def fail(_problem: Problem) -> HttpResponse:
        document = JsonRenderer().render({"__type": "DecryptionFailure", "Message": NOT_DECRYPTED})
        status = HTTPStatus.BAD_REQUEST
        return HttpResponse(document, status=status, content_type=MEDIA_TYPE, headers=identity)

    return PlainRead(
        ReadRequest(session.public_id, None, *origin, name=name, details=PROTOCOL), route, answer, fail
    )


def _name_in(body: bytes) -> str:
    """Return the name of the secret whose current value is asked for, "" if something else is."""
    try:
        members: Any = load_unique(body) if len(body) <= MAX_BODY else None
    except (orjson.JSONDecodeError, AmbiguousJson):
        return ""
    name = members.get("SecretId") if isinstance(members, dict) and len(members) == 1 else None
    return name if isinstance(name, str) and not name.startswith("arn:") else ""


# Some SDKs sign the path with a slash at its end, some without.
urlpatterns = [
    path("aws", OperationsView.as_view(), name="aws"),
    path("aws/", OperationsView.as_view(), name="aws-root"),
    path("aws/credentials", ContainerCredentialsView.as_view(), name="aws-credentials"),
    path("aws/sts", StsView.as_view(), name="aws-sts"),
    path("aws/sts/", StsView.as_view(), name="aws-sts-root"),
]
AWS: Final = Protocol("", urlpatterns, (read,), describe, COMPONENTS)
