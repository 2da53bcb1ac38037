"""Servers and proxies that take their time, and proxies that ask for a password."""

import socket
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection

import pytest

from kpr.api import Api
from kpr.connection import connect
from kpr.errors import NoAnswerError, SignInError, UsageError
from kpr.signin import workload

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nX-Long: "
PASSWORD = "pa55/wörd:of-the-proxy"


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[bytes]]]:
    """Answer each connection once; yield the port and what was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                asked.append(connection.recv(65536))
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(60)


@pytest.mark.parametrize("begins", [HEAD, HEAD + b"x\r\n\r\n"], ids=["in its head", "in its body"])
def test_an_answer_that_comes_byte_by_byte_ends_in_time(begins: bytes, socket_enabled: None) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(begins)
        for _ in range(1000):
            time.sleep(0.03)
            connection.sendall(b"x")

    with serving(drip) as (port, asked):
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"did not answer within 1 s"):
            Api(f"http://127.0.0.1:{port}", seconds=0.2).get("secrets")
        # The thread would drip for 30 s.
        assert time.monotonic() - began < 15
        assert len(asked) == 1


def test_a_token_of_github_that_comes_byte_by_byte_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, socket_enabled: None
) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"x\r\n\r\n")
        for _ in range(600):
            time.sleep(0.03)
            connection.sendall(b" ")

    monkeypatch.setattr(workload, "_SECONDS", 0.3)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://github.invalid/token?a=b")
    for name in ("KPR_JWT", "KPR_JWT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with serving(drip) as (port, _):
        monkeypatch.setattr(workload, "connect", lambda *_, **__: HTTPConnection("127.0.0.1", port))
        began = time.monotonic()
        with pytest.raises(SignInError, match="GitHub gave no token"):
            workload.token_by_trust("https://keeper.invalid", "pipeline")
        assert time.monotonic() - began < 12


def test_an_answer_that_ends_its_connection_is_read_whole(socket_enabled: None) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[1,")
        time.sleep(0.05)
        connection.sendall(b"2]")

    with serving(answer) as (port, _):
        assert Api(f"http://127.0.0.1:{port}").get("secrets").document() == [1, 2]


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_proxy_gets_its_password_and_no_message_has_it(
    monkeypatch: pytest.MonkeyPatch, no_proxies: None, socket_enabled: None
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n")

    with serving(refuse) as (port, asked):
        user = "a%40b:pa55%2Fw%C3%B6rd:of-the-proxy"
        monkeypatch.setenv("https_proxy", f"http://{user}@127.0.0.1:{port}")
        with pytest.raises(NoAnswerError) as error:
            Api("https://keeper.invalid", token="kpr_of_keeper").get("secrets")
    assert str(error.value) == (
        "Cannot reach https://keeper.invalid: the proxy refused (407). "
        "Check its user and password in https_proxy."
    )
    # It is not asked again, and gets nothing for the server.
    (request,) = asked
    head, _, given = request.decode().partition("Proxy-Authorization: Basic ")
    assert head.startswith("CONNECT keeper.invalid:443 ")
    assert b64decode(given.split()[0]).decode() == f"a@b:{PASSWORD}"
    assert "kpr_of_keeper" not in request.decode()


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://127.0.0.1:9",
        "https://user:secret-word@127.0.0.1:9",
        "http://u:secret-word@h:port",
        "http://",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(
    proxy: str, monkeypatch: pytest.MonkeyPatch, no_proxies: None
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(UsageError, match="https_proxy cannot be used") as error:
        Api("https://keeper.invalid").get("secrets")
    assert "secret-word" not in str(error.value)


def test_a_server_that_no_proxy_names_is_asked_directly(
    monkeypatch: pytest.MonkeyPatch, no_proxies: None
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "keeper.invalid")
    hosts = [connect(f"https://{host}.invalid", seconds=1).host for host in ("keeper", "another")]
    assert hosts == ["keeper.invalid", "proxy.invalid"]


@pytest.mark.parametrize("address", ["http://github.invalid/token", "https:///token", "file:///etc/passwd"])
def test_the_token_of_a_job_goes_to_github_by_https_alone(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", address)
    for name in ("KPR_JWT", "KPR_JWT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(workload, "connect", lambda *_, **__: pytest.fail("it connects"))
    with pytest.raises(SignInError, match="no address of GitHub"):
        workload.token_by_trust("https://keeper.invalid", "pipeline")
