"""How a request is answered that Django never gets, such as one with a chunked body: as its protocol does."""

import json
from http import HTTPStatus
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from core.http.json import MEDIA_TYPE
from gateway_app.aws.answers import MEDIA_TYPE as AWS_MEDIA_TYPE
from gateway_app.aws.sts import NAMESPACE
from gateway_app.scim.answers import MEDIA_TYPE as SCIM_MEDIA_TYPE
from gateway_app.scim.answers import error_document

_PROBLEM: Final = "application/problem+json"
_PLAIN: Final = "text/plain; charset=utf-8"


def refusal_form(path: str, status: HTTPStatus, text: str) -> tuple[str, bytes]:
    """Return the media type and the body of a refusal, by the path that was asked for."""
    if path.startswith("/vault/"):
        return MEDIA_TYPE, _json({"errors": [text]})
    if path.startswith("/api/"):
        facts = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": text}
        return _PROBLEM, _json(facts)
    if path.rstrip("/") == "/aws/sts":
        return "text/xml", _xml(status, text)
    if path.rstrip("/") == "/aws" or path.startswith("/aws/"):
        return AWS_MEDIA_TYPE, _json({"__type": _kind(status), "Message": text})
    if path.startswith("/scim/"):
        return SCIM_MEDIA_TYPE, _json(error_document(status, "", text))
    return _PLAIN, f"{text}\n".encode()


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


def _xml(status: HTTPStatus, text: str) -> bytes:
    answer = Element("ErrorResponse", xmlns=NAMESPACE)
    error = SubElement(answer, "Error")
    is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    fault = "Receiver" if is_ours else "Sender"
    kind = "ServiceUnavailable" if is_ours else "ValidationError"
    for name, content in (("Type", fault), ("Code", kind), ("Message", text)):
        SubElement(error, name).text = content
    document: bytes = tostring(answer, encoding="utf-8")
    return document


def _kind(status: HTTPStatus) -> str:
    """Return the type of an error of AWS."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "ServiceUnavailableException"
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "RequestEntityTooLarge"
    return "InvalidRequestException"
