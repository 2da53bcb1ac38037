"""What kpr sends again, and what it does not."""

from typing import Any

import pytest

from kpr.api import Api
from kpr.errors import UnreachableError


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
