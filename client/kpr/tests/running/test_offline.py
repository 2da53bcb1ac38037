"""Offline copies: used only where no server answers, bound to token and place, bounded in age, wiped."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kpr.api import Answer, Api
from kpr.cli.parser import build
from kpr.errors import Exit, ForbiddenError, KprError, NoAnswerError
from kpr.running import offline
from kpr.running.run import fetch, find_value
from kpr.settings import Settings
from kpr.tests.conftest import closed

pytestmark = pytest.mark.usefixtures("keyring")

SERVER = "https://keeper.example.com"
VALUES = {"app/key": "c4n4ry-offline", "app/other": "two"}
# The files get the times of the real clock.
NOW = float(int(time.time()))
BODY = json.dumps(VALUES).encode()


class Network:
    """What the server answers: a status and the hours that it allows, or nothing at all."""

    def __init__(self) -> None:
        self.answer: tuple[int, int] | None = (200, 24)
        self.asked: list[str] = []

    def read(self, api: Api, method: str, target: str, *_: object, **__: object) -> Answer:
        self.asked.append(target)
        if self.answer is None:
            raise NoAnswerError("Cannot reach it.")
        status, hours = self.answer
        headers = {offline.HEADER: str(hours * 3600)} if hours else {}
        body = BODY if "/export" in target else b'{"value": "fresh"}'
        return Answer(status, headers, body if status == 200 else b"{}")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()
    monkeypatch.setattr(Api, "_try", lambda api, *args, **more: found.read(api, *args, **more))  # noqa: PLW0108 - binds the Api
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def move(hours: float) -> None:
        monkeypatch.setattr("time.time", lambda: NOW + hours * 3600)

    move(0)
    return move


def settings(**changes: object) -> Settings:
    given = {"server": SERVER, "environment": "development", "prefix": "app", "offline_hours": 48, **changes}
    return Settings(is_server_explicit=True, **given)  # type: ignore[arg-type]  # the fields by name


def read(token: str = "kpu_one", **changes: object) -> dict[str, str]:
    options = build().parse_args(["run"])
    return fetch(options, settings(**changes), Api(SERVER, token))


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_copy_is_used_where_no_server_answers_and_its_age_is_reported(
    tmp_path: Path, network: Network, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert read() == VALUES
    (path,) = copies(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"c4n4ry" not in path.read_bytes()
    assert capsys.readouterr().err == ""
    network.answer = None
    clock(3.5)
    assert read() == VALUES
    assert "offline copy of 3 h 30 min ago, which may be used for 24 h" in capsys.readouterr().err
    api = Api(SERVER, "kpu_one")
    assert find_value(settings(), api, "app/key") == VALUES["app/key"]
    assert fetch(build().parse_args(["run", "--only", "app/other"]), settings(), api) == {"app/other": "two"}
    with pytest.raises(NoAnswerError, match="does not hold app/absent"):
        find_value(settings(), api, "app/absent")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_never_answered_by_a_copy_and_deletes_it(
    tmp_path: Path, network: Network, clock: object, status: int
) -> None:
    read()
    network.answer = (status, 0)
    with pytest.raises(KprError) as refused:
        read()
    assert refused.value.code in {Exit.SIGN_IN, Exit.FORBIDDEN, Exit.NOT_FOUND}
    assert copies(tmp_path) == []


@pytest.mark.parametrize("status", [429, 500, 400])
def test_an_answer_that_is_no_value_is_reported_and_not_replaced(
    tmp_path: Path, network: Network, clock: object, status: int
) -> None:
    read()
    network.answer = (status, 0)
    with pytest.raises(KprError) as refused:
        read()
    assert not isinstance(refused.value, NoAnswerError)
    assert len(copies(tmp_path)) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_its_server_is_no_server(network: Network, clock: object, status: int) -> None:
    read()
    network.answer = (status, 0)
    assert read() == VALUES


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "kpu_two"},
        {"environment": "production"},
        {"prefix": ""},
        {"server": "https://another.example.com"},
        {"offline_hours": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_copy_is_for_its_server_token_environment_and_prefix(
    network: Network, clock: object, changes: dict[str, object]
) -> None:
    read()
    network.answer = None
    with pytest.raises(NoAnswerError):
        read(**changes)  # type: ignore[arg-type]  # one of them is the token
    assert read() == VALUES


def test_a_copy_at_another_place_does_not_open(tmp_path: Path, network: Network, clock: object) -> None:
    read()
    (path,) = copies(tmp_path)
    read(environment="production")
    (other,) = set(copies(tmp_path)) - {path}
    other.write_bytes(path.read_bytes())
    network.answer = None
    with pytest.raises(NoAnswerError, match="no offline copy"):
        read(environment="production")
    sealed = bytearray(path.read_bytes())
    sealed[-1] ^= 1
    path.write_bytes(sealed)
    with pytest.raises(NoAnswerError, match="no offline copy"):
        read()


@pytest.mark.parametrize(("hours", "project"), [(24.1, 48), (2.1, 2), (-0.1, 48)])
def test_a_copy_has_an_end(
    tmp_path: Path, network: Network, clock: Callable[[float], None], hours: float, project: int
) -> None:
    read()
    network.answer = None
    clock(hours)
    with pytest.raises(NoAnswerError, match="is deleted"):
        read(offline_hours=project)
    assert copies(tmp_path) == []


def test_what_the_server_forbids_is_not_kept_and_deleted(
    tmp_path: Path, network: Network, clock: object
) -> None:
    read()
    network.answer = (200, 0)
    assert read() == VALUES
    assert copies(tmp_path) == []


def test_without_being_asked_for_no_copy_is_kept(tmp_path: Path, network: Network) -> None:
    assert read(offline_hours=0) == VALUES
    assert copies(tmp_path) == []


@pytest.mark.parametrize(("variable", "value"), [("FAKE_LOCKED", "1"), ("FAKE_PRIORITY", "0")])
def test_without_a_keyring_values_are_read_and_none_is_kept(
    tmp_path: Path,
    network: Network,
    clock: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv(variable, value)
        sys.modules.pop("keyring", None)
        assert read() == VALUES
    assert "no offline copy is kept" in capsys.readouterr().err
    assert copies(tmp_path) == []
    read()
    network.answer = None
    monkeypatch.setenv(variable, value)
    with pytest.raises(NoAnswerError, match="no offline copy"):
        read()


def test_signing_out_wipes_copies_and_their_key(
    tmp_path: Path, keyring: Path, network: Network, clock: object
) -> None:
    read()
    read(server="https://another.example.com")
    offline.forget_copies(SERVER)
    assert len(copies(tmp_path)) == 1
    assert f"{offline.SERVICE} {SERVER}" not in json.loads(keyring.read_text())
    network.answer = None
    with pytest.raises(NoAnswerError):
        read()


def test_a_copy_that_no_one_may_use_any_more_goes_with_the_next(
    tmp_path: Path, network: Network, clock: Callable[[float], None]
) -> None:
    read(prefix="old")
    (old,) = copies(tmp_path)
    read(prefix="young")
    os.utime(old, (NOW, NOW))
    for path in copies(tmp_path):
        if path != old:
            os.utime(path, (NOW + 160 * 3600, NOW + 160 * 3600))
    clock(169)
    read()
    assert old not in copies(tmp_path)
    assert len(copies(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_hinders_nothing(
    tmp_path: Path, network: Network, clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert read() == VALUES
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "allowed"), [(0, 24), (48, 24), (48, 0)])
def test_a_folder_that_cannot_be_entered_hinders_nothing(
    tmp_path: Path,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: int,
    allowed: int,
) -> None:
    network.answer = (200, allowed)
    monkeypatch.setattr(offline, "kept_key", lambda *_, **__: b"k" * 32)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "closed" / "cache"))
    with closed(tmp_path / "closed"):
        assert read(offline_hours=asked) == VALUES
    told = capsys.readouterr().err.splitlines()
    assert len(told) == (1 if asked else 0)
    assert all("Permission denied" in line for line in told)


def test_a_refusal_is_told_where_the_folder_cannot_be_entered(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.answer = (403, 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "closed" / "cache"))
    with closed(tmp_path / "closed"), pytest.raises(ForbiddenError):
        read()
