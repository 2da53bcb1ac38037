"""What a client gets whose request Django never sees: an error that its library reads."""

import json
from http import HTTPStatus
from io import BytesIO
from xml.etree.ElementTree import fromstring

import boto3
import pytest
from botocore.parsers import JSONParser, QueryParser

from gateway_app.refusals import refusal_form
from keeper_project.runtime.request_threads import RequestThreads

TOO_LARGE, NO_LENGTH = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.LENGTH_REQUIRED


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/vault/v1/secret/data/a", "application/json"),
        ("/api/secrets", "application/problem+json"),
        ("/aws", "application/x-amz-json-1.1"),
        ("/aws/", "application/x-amz-json-1.1"),
        ("/aws/sts", "text/xml"),
        ("/aws/sts/", "text/xml"),
        ("/secrets/new", "text/plain; charset=utf-8"),
        ("/apix", "text/plain; charset=utf-8"),
        ("/awsx", "text/plain; charset=utf-8"),
    ],
)
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, "411 Length Required"),
        ({"CONTENT_LENGTH": "1001"}, f"413 {TOO_LARGE.phrase}"),
        ({"CONTENT_LENGTH": "20"}, "400 Bad Request"),
    ],
    ids=["chunked", "too large", "cut"],
)
def test_each_path_is_refused_in_its_own_form(
    path: str, media_type: str, sent: dict[str, str], status: str
) -> None:
    told: list[tuple[str, dict[str, str]]] = []
    threads = RequestThreads(lambda _, __: [], 1, longest=1000, form=refusal_form)
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "POST", "wsgi.input": BytesIO(b"a" * 10), **sent}
    body = b"".join(threads(environ, lambda status, headers: told.append((status, dict(headers)))))
    ((found, headers),) = told
    assert (found, headers["Content-Type"]) == (status, media_type)
    assert headers["Content-Length"] == str(len(body))
    if "json" in media_type:
        assert json.loads(body)
    elif media_type == "text/xml":
        assert fromstring(body).find(".//{*}Message") is not None


def test_each_form_is_read_by_its_clients() -> None:
    assert json.loads(refusal_form("/vault/v1/a", NO_LENGTH, "why")[1]) == {"errors": ["why"]}
    assert json.loads(refusal_form("/api/a", NO_LENGTH, "why")[1]) == {
        "type": "about:blank", "title": "Length Required", "status": 411, "detail": "why",
    }  # fmt: skip
    _, body = refusal_form("/aws", TOO_LARGE, "why")
    shape = boto3.client("secretsmanager", region_name="x", aws_access_key_id="a", aws_secret_access_key="b")
    model = shape.meta.service_model.operation_model("GetSecretValue").output_shape
    assert model is not None
    read = JSONParser().parse({"body": body, "headers": {}, "status_code": 413}, model)
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("RequestEntityTooLarge", "why")
    _, body = refusal_form("/aws/sts", HTTPStatus.SERVICE_UNAVAILABLE, "why")
    read = QueryParser().parse({"body": body, "headers": {}, "status_code": 503}, model)
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("ServiceUnavailable", "why")
