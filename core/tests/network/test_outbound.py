"""Keeper connects with a credential only where it may, judged by the address it connects to."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from pytest_django import Settings

from core.errors import BadEndpoint, EndpointRefused
from core.network import outbound


class Redirecting(BaseHTTPRequestHandler):
    seen: list[str] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_response(307 if self.path == "/" else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Redirecting.seen = []
    with HTTPServer(("127.0.0.1", 0), Redirecting) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def loopback_allowed(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "ff02::1",
    ],
)
def test_it_refuses_addresses_inside(address: str, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    assert not outbound.is_permitted(address, encrypted=True)


@pytest.mark.parametrize("address", ["52.94.133.131", "2600:1f18::1"])
def test_it_permits_the_internet_by_tls_alone(address: str, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    assert outbound.is_permitted(address, encrypted=True)
    assert not outbound.is_permitted(address, encrypted=False)


def test_it_permits_what_is_configured(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["10.1.0.0/16"]
    assert outbound.is_permitted("10.1.2.3", encrypted=False)
    assert outbound.is_permitted("::ffff:10.1.2.3", encrypted=False)
    assert not outbound.is_permitted("10.2.2.3", encrypted=True)


def test_it_refuses_a_name_that_also_points_inside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    found = [(2, 1, 6, "", ("52.94.133.131", 443)), (2, 1, 6, "", ("169.254.169.254", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(EndpointRefused):
        outbound.permitted_addresses("rebind.example", 443, encrypted=True)


def test_it_judges_before_it_connects(server: str, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    with outbound.session() as session, pytest.raises(EndpointRefused, match="KEEPER_OUTBOUND_ALLOWED"):
        session.get(server, timeout=30)
    assert Redirecting.seen == []


def test_it_connects_to_the_address_that_was_judged(
    server: str, loopback_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers differently the second time leads to the first answer."""
    port = int(server.rpartition(":")[2])
    real = socket.getaddrinfo
    asked: list[str] = []

    def answer(host: str, *args: object, **kwargs: object) -> object:
        asked.append(host)
        return real("127.0.0.1" if host == "vault.example" else host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with outbound.session() as session:
        assert session.get(f"http://vault.example:{port}/elsewhere", timeout=30).status_code == 200
    assert asked.count("vault.example") == 1


def test_it_follows_no_redirect(server: str, loopback_allowed: None) -> None:
    with outbound.session() as session:
        assert session.get(server, timeout=30, allow_redirects=True).status_code == 307
    assert Redirecting.seen == ["/"]


def test_it_ignores_proxies_of_the_environment(
    server: str, loopback_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with outbound.session() as session:
        assert session.get(server + "/elsewhere", timeout=30).status_code == 200


def test_it_reports_a_closed_port_as_a_connection_error(loopback_allowed: None) -> None:
    with outbound.session() as session, pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:9", timeout=30)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("HTTPS://Vault.Example:443/", "https://vault.example"),
        ("https://vault.example./a//b/", "https://vault.example/a/b"),
        ("http://[::1]:8200", "http://[::1]:8200"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_it_has_one_spelling_of_an_endpoint(given: str, normal: str) -> None:
    assert outbound.normalised_endpoint(given) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "vault.example",
        "ftp://vault.example",
        "file:///etc/passwd",
        "https://user:password@vault.example",
        "https://vault.example/?a=b",
        "https://vault.example/#a",
        "https://vault.example/../x",
        "https://vault.example/%2e%2e/x",
        "https://vault.example:port",
        "https://vault.example\\@evil.example",
    ],
)
def test_it_refuses_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(BadEndpoint):
        outbound.normalised_endpoint(url)
