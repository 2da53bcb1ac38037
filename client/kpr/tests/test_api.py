"""What kpr sends again, and what it does not."""

import ssl
from typing import Any

import pytest

from kpr.api import Api
from kpr.errors import NoAnswerError, UnreachableError


@pytest.mark.parametrize(("method", "times"), [("GET", 3), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
def test_a_write_whose_answer_was_lost_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, method: str, times: int
) -> None:
    """The server may have carried it out: only a read is repeated."""
    sent: list[str] = []

    class Lost:
        """A connection that takes each request and answers none."""

        sock = None

        def request(self, method: str, *_: Any, **__: Any) -> None:
            sent.append(method)

        def getresponse(self) -> Any:
            raise ConnectionResetError

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(Api, "_connect", lambda _: Lost())
    monkeypatch.setattr("kpr.api.time.sleep", lambda _: None)
    with pytest.raises(UnreachableError):
        Api("http://127.0.0.1:9").send(method, "secrets")
    assert sent == [method] * times


@pytest.mark.parametrize(("method", "times"), [("GET", 3), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
def test_a_write_that_met_a_busy_server_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, method: str, times: int
) -> None:
    """A proxy that answers so may have passed it on: only a read is repeated."""
    sent: list[str] = []

    class Busy:
        """A connection to a server that asks for some seconds."""

        status, sock = 503, None

        def request(self, method: str, *_: Any, **__: Any) -> None:
            sent.append(method)

        def getresponse(self) -> "Busy":
            return self

        def read(self, _: int) -> bytes:
            return b"{}"

        def getheaders(self) -> list[tuple[str, str]]:
            return [("Retry-After", "1")]

    monkeypatch.setattr(Api, "_connect", lambda _: Busy())
    monkeypatch.setattr("kpr.api.time.sleep", lambda _: None)
    with pytest.raises(UnreachableError, match="Retry after 1 s"):
        Api("http://127.0.0.1:9").send(method, "secrets")
    assert sent == [method] * times


class Answering:
    """A connection to a server that gives every request one answer."""

    sock = None

    def __init__(self, status: int, **headers: str) -> None:
        self.status, self.headers, self.asked = status, headers, 0

    def request(self, *_: Any, **__: Any) -> None:
        self.asked += 1

    def getresponse(self) -> "Answering":
        return self

    def read(self, _: int) -> bytes:
        return b"{}"

    def getheaders(self) -> list[tuple[str, str]]:
        return [(name.replace("_", "-"), value) for name, value in self.headers.items()]

    def close(self) -> None:
        """Nothing is open."""


def test_a_long_wait_is_reported_and_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Answering(429, retry_after="3600")
    monkeypatch.setattr(Api, "_connect", lambda _: server)
    monkeypatch.setattr("kpr.api.time.sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(UnreachableError, match="Retry after 3600 s"):
        Api("http://127.0.0.1:9").get("secrets")
    assert server.asked == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308, 500])
def test_who_sends_kpr_elsewhere_or_fails_is_no_keeper_that_refuses(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A redirect is not followed with the token: the address is wrong."""
    server = Answering(status, location="https://elsewhere.example.com/")
    monkeypatch.setattr(Api, "_connect", lambda _: server)
    with pytest.raises(UnreachableError, match=f"answered {status}: check its address") as error:
        Api("http://127.0.0.1:9", token="kpr_x").get("secrets")
    assert not isinstance(error.value, NoAnswerError)
    assert server.asked == 1


def test_a_server_with_another_certificate_is_no_reason_to_use_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stranger(Answering):
        def request(self, *_: Any, **__: Any) -> None:
            raise ssl.SSLCertVerificationError("self-signed")

    monkeypatch.setattr(Api, "_connect", lambda _: Stranger(200))
    monkeypatch.setattr("kpr.api.time.sleep", lambda _: None)
    with pytest.raises(UnreachableError, match="set KPR_CA_FILE") as error:
        Api("https://keeper.invalid", token="kpr_x").get("secrets")
    assert not isinstance(error.value, NoAnswerError)
