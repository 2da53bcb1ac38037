import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.exceptions import ParseError

from core.http.json import BodyTooLarge, JsonParser, JsonRenderer
from environments_app.tests.cast import Cast
from secrets_app.models import Secret


def parsed(body: bytes) -> Any:
    return JsonParser().parse(io.BytesIO(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b'{"a": 1} trailing',
        b'{"a": 01}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        '{"a": 1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_refused_without_its_text(body: bytes) -> None:
    with pytest.raises(ParseError) as refused:
        parsed(body)
    assert "The body is not JSON" in str(refused.value)
    assert "trailing" not in str(refused.value)


def test_text_is_taken_as_it_is() -> None:
    assert parsed('{"a": "pä\\u0000 \\ud83d\\udd11"}'.encode()) == {"a": "pä\0 🔑"}


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ParseError, match="a name twice"):
        parsed(b'{"b": {"a": 1, "a": 2}}')


def test_a_body_is_limited(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert parsed(b'{"a": 123}') == {"a": 123}
    with pytest.raises(BodyTooLarge):
        parsed(b'{"a": 1234}')


def test_times_and_uuids_are_written_as_text() -> None:
    content = {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "id": UUID(int=7), "text": "pä"}
    assert json.loads(JsonRenderer().render(content)) == {
        "at": "2026-01-02T03:04:05Z",
        "id": "00000000-0000-0000-0000-000000000007",
        "text": "pä",
    }
    assert JsonRenderer().render(None) == b""


@pytest.mark.parametrize("size", [17, 32])
@pytest.mark.parametrize(
    "path", ["/api/secrets", "/api/secrets/bulk", "/api/secrets/generate", "/api/environments"]
)
def test_a_large_body_is_a_problem_on_every_route(
    cast: Cast, bearer: Callable[..., Client], path: str, size: int
) -> None:
    body = b'{"value": "' + b"x" * (size * 2**20) + b'"}'
    response = bearer("editor", cast.development).post(path, body, content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (413, "application/problem+json")
    assert response.json()["status"] == 413
    assert not Secret.objects.exists()


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "",
    ],
)
def test_other_forms_of_a_body_are_refused(
    cast: Cast, bearer: Callable[..., Client], content_type: str
) -> None:
    response = bearer("editor", cast.development).generic(
        "POST", "/api/secrets", b"value=x", content_type=content_type
    )
    assert (response.status_code, response["Content-Type"]) == (415, "application/problem+json")


def test_a_body_with_a_name_twice_stores_nothing(cast: Cast, bearer: Callable[..., Client]) -> None:
    body = (
        b'{"name": "a", "name": "b", "environment_id": %d, "secret_type": "TEXT", "value": "1", "value": "2"}'
    )
    client = bearer("editor", cast.development)
    response = client.post("/api/secrets", body % cast.development.pk, content_type="application/json")
    assert response.status_code == 400
    assert not Secret.objects.exists()


def test_invalid_utf8_is_refused_and_stores_nothing(cast: Cast, bearer: Callable[..., Client]) -> None:
    body = (
        b'{"name": "a", "environment_id": %d, "secret_type": "TEXT", "value": "\xff"}' % cast.development.pk
    )
    response = bearer("editor", cast.development).post("/api/secrets", body, content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert not Secret.objects.exists()
