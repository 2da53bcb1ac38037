"""`kpr login --web`: the browser's answer on 127.0.0.1, by its state alone, against Keeper in this process."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client
from environments_app.models import PersonalToken, User
from environments_app.tests.cast import Cast

from kpr.__main__ import main
from kpr.errors import Exit, SignInError
from kpr.signin import loopback
from kpr.signin.loopback import Listener, challenge_of
from kpr.tests.conftest import Inside

Browser = Callable[..., list[int]]


@pytest.fixture
def browser(
    inside: Inside, cast: Cast, signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Browser]:
    """A browser in which bob presses a button, and which then calls the addresses that `visits` makes of the last."""
    monkeypatch.delenv("KPR_TOKEN")
    threads = list[threading.Thread]()
    person = signed_in(cast.bob)

    def prepare(*, button: str, visits: Callable[[str], list[str]] = lambda address: [address]) -> list[int]:
        answers = list[int]()

        def opened(address: str) -> bool:
            given = dict(parse_qsl(urlsplit(address).query))
            assert person.get("/loopback", given).status_code == 200
            form = {
                **given,
                "environment": "",
                "prefix": "",
                "hours": "2",
                **({"deny": "yes"} if button == "Deny" else {}),
            }
            back = person.post("/loopback/answer", form)["Refresh"].partition("url=")[2]
            threads.append(threading.Thread(target=lambda: answers.extend(map(_status, visits(back)))))
            threads[-1].start()
            return True

        monkeypatch.setattr("webbrowser.open", opened)
        return answers

    yield prepare
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_person_is_signed_in(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    browser(button="Approve")
    assert main(["login", "--web", "--storage", "file", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["name"] == "bob"
    token = next(iter(json.loads((tmp_path / "config/kpr/credentials.json").read_text()).values()))["token"]
    assert token.startswith("kpu_")
    assert token not in shown.out + shown.err
    assert PersonalToken.objects.get().user.username == "bob"


def test_a_denied_sign_in_is_reported(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    browser(button="Deny")
    assert main(["login", "--web", "--storage", "file"]) == Exit.FORBIDDEN
    assert "denied" in capsys.readouterr().err
    assert not (tmp_path / "config").exists()


def test_an_answer_with_another_state_is_refused_and_the_wait_goes_on(
    browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    def visits(address: str) -> list[str]:
        begin = address.partition("?")[0]
        return [f"{begin}favicon.ico", f"{begin}?code=of-another&state={'x' * 43}", address]

    answers = browser(button="Approve", visits=visits)
    assert main(["login", "--web", "--storage", "file"]) == 0
    assert answers[:2] == [404, 404]
    # A log of requests would hold the code.
    assert "code=" not in capsys.readouterr().err.partition("\n")[2]


def test_it_listens_on_the_loopback_address_alone_and_not_for_ever() -> None:
    with Listener("s" * 43) as listener:
        assert listener.server_address[0] == "127.0.0.1"
        assert listener.socket.family == socket.AF_INET
        with pytest.raises(SignInError):
            listener.wait(0.01)


def test_a_request_that_comes_byte_by_byte_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_PATIENCE", 0.3)

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(600):
                connection.sendall(b"G")
                time.sleep(0.03)

    with (
        Listener("s" * 43) as listener,
        socket.create_connection(("127.0.0.1", listener.server_address[1])) as dripping,
    ):
        thread = threading.Thread(target=drip, args=[dripping], daemon=True)
        thread.start()
        with socket.create_connection(("127.0.0.1", listener.server_address[1])) as browser:
            browser.sendall(f"GET /?state={'s' * 43}&code=c HTTP/1.0\r\n\r\n".encode())
            began = time.monotonic()
            assert listener.wait(60)["code"] == "c"
            # The other would go on for 18 s.
            assert time.monotonic() - began < 12
        dripping.close()
        thread.join(60)


def test_the_challenge_is_that_of_the_standard() -> None:
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
