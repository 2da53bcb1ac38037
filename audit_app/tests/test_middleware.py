from typing import Any

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from audit_app.middleware import RequestContextMiddleware


@pytest.fixture(autouse=True)
def _proxies(settings: Settings) -> None:
    settings.KEEPER_TRUSTED_PROXIES = ["10.0.0.1"]


def passed_on(**meta: Any) -> tuple[HttpRequest, HttpResponse, dict[str, Any]]:
    seen: dict[str, Any] = {}

    def view(request: HttpRequest) -> HttpResponse:
        seen.update(structlog.contextvars.get_contextvars())
        return HttpResponse()

    request = RequestFactory().get("/", **meta)
    return request, RequestContextMiddleware(view)(request), seen


def test_every_request_gets_an_id_that_is_answered_and_logged() -> None:
    request, response, logged = passed_on(REMOTE_ADDR="192.0.2.1")
    assert len(request.request_id) == 32  # type: ignore[attr-defined]
    assert response["X-Request-ID"] == request.request_id  # type: ignore[attr-defined]
    assert logged == {"request_id": request.request_id, "address": "192.0.2.1"}  # type: ignore[attr-defined]
    assert structlog.contextvars.get_contextvars() == {}


def test_a_trusted_proxy_may_give_the_id() -> None:
    _, response, _ = passed_on(REMOTE_ADDR="10.0.0.1", HTTP_X_REQUEST_ID="abcdef-12345")
    assert response["X-Request-ID"] == "abcdef-12345"


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space in it", "line\nbreak-in-it", "semi;colon"])
def test_an_id_that_is_not_sane_is_replaced(given: str) -> None:
    _, response, _ = passed_on(REMOTE_ADDR="10.0.0.1", HTTP_X_REQUEST_ID=given)
    assert response["X-Request-ID"] != given


def test_nobody_else_may_say_what_only_proxies_say() -> None:
    request, response, _ = passed_on(
        REMOTE_ADDR="192.0.2.1",
        HTTP_X_REQUEST_ID="abcdef-12345",
        HTTP_X_FORWARDED_PROTO="https",
        HTTP_X_FORWARDED_FOR="203.0.113.7",
    )
    assert response["X-Request-ID"] != "abcdef-12345"
    assert request.client_address == "192.0.2.1"  # type: ignore[attr-defined]
    assert not request.is_secure()


def test_a_trusted_proxy_may_say_that_the_client_came_by_tls() -> None:
    request, _, _ = passed_on(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_PROTO="https")
    assert request.is_secure()
