"""The short way of choosing a renderer chooses as the framework does."""

from typing import Any

import pytest
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import StaticHTMLRenderer
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from core.http.json import JsonRenderer, Negotiation

ACCEPTED: list[dict[str, Any]] = [
    {}, {"HTTP_ACCEPT": "*/*"}, {"HTTP_ACCEPT": "application/json"}, {"HTTP_ACCEPT": "text/html"},
    {"HTTP_ACCEPT": "*/*;q=0.5"}, {"HTTP_ACCEPT": "text/plain"}, {"HTTP_ACCEPT": ""},
    {"QUERY_STRING": "format=html"}, {"HTTP_ACCEPT": "*/*", "QUERY_STRING": "format=html"},
]  # fmt: skip


def chosen(negotiation: DefaultContentNegotiation, meta: dict[str, Any]) -> Any:
    request = Request(APIRequestFactory().get("/", **meta))
    try:
        renderer, media_type = negotiation.select_renderer(request, [JsonRenderer(), StaticHTMLRenderer()])
    except NotAcceptable:
        return NotAcceptable
    return type(renderer), media_type


@pytest.mark.parametrize("meta", ACCEPTED, ids=str)
def test_it_chooses_as_the_framework(meta: dict[str, Any]) -> None:
    assert chosen(Negotiation(), meta) == chosen(DefaultContentNegotiation(), meta)
