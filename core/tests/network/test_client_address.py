from typing import Any

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from core.network.client_address import client_address, subscriber


@pytest.fixture(autouse=True)
def _proxies(settings: Settings) -> None:
    settings.KEEPER_TRUSTED_PROXIES = ["10.0.0.0/8", "2001:db8::1"]


def seen(peer: str, forwarded: str | None = None) -> str:
    headers: dict[str, Any] = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, **headers))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        # Nobody but a trusted proxy is believed.
        ("192.0.2.1", "203.0.113.7", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        # What the client wrote itself stands to the left of what the proxy has seen.
        ("10.0.0.1", "127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("10.0.0.1", "203.0.113.7, rubbish", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, <script>, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", "2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("2001:db8::1", "203.0.113.7", "203.0.113.7"),
        ("", "203.0.113.7", ""),
        ("rubbish", None, ""),
    ],
)
def test_the_client_is_the_first_that_is_no_trusted_proxy(
    peer: str, forwarded: str | None, client: str
) -> None:
    assert seen(peer, forwarded) == client


def test_a_socket_is_trusted_by_name(settings: Settings) -> None:
    settings.KEEPER_TRUSTED_PROXIES = ["unix"]
    assert seen("", "203.0.113.7") == "203.0.113.7"
    assert seen("192.0.2.1", "203.0.113.7") == "192.0.2.1"


def test_an_ipv6_client_is_counted_by_its_network() -> None:
    assert subscriber("2001:db8:1:2:3::4") == subscriber("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert subscriber("192.0.2.1") == "192.0.2.1"
    assert subscriber("") == ""


def test_another_header_can_name_the_client(settings: Settings, rf: RequestFactory) -> None:
    settings.KEEPER_TRUSTED_PROXIES = ["127.0.0.1"]
    settings.KEEPER_FORWARDED_HEADER = "X-Real-Client"
    request = rf.get("/", headers={"x-forwarded-for": "203.0.113.9", "x-real-client": "192.0.2.7"})
    assert client_address(request) == "192.0.2.7"
