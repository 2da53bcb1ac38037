"""An old client with a new server, and the reverse, by what was recorded for each API level.

A recording has the requests of that level's client, and of the answers what it reads. A new level gets a new
one; the older ones stay as they are while they are supported. `*` is any text.
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kpr import API_LEVEL
from kpr.__main__ import main
from kpr.api import Answer, Api
from kpr.errors import Exit
from kpr.tests.conftest import Inside

RECORDED = Path(__file__).parent / "recorded"
LEVELS = [1]
# Of a server before GET /api/version, and of the one after this client.
NONE, NEXT = 0, API_LEVEL + 1


def recorded(level: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDED / f"level-{level}.json").read_text())
    return found


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KPR_SERVER", "https://keeper.example.com")
    monkeypatch.setenv("KPR_TOKEN", f"kpr_{'a' * 22}_{'b' * 43}")
    monkeypatch.setenv("KPR_ENVIRONMENT", "development")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def answering(monkeypatch: pytest.MonkeyPatch, answers: Callable[[str, str, Any], Answer]) -> None:
    def answer(_: Api, method: str, target: str, content: bytes | None, *__: object, **___: object) -> Answer:
        body = json.loads(content) if content else None
        return answers(method, target.removeprefix("/api/"), body)

    monkeypatch.setattr(Api, "_try", answer)


@pytest.mark.parametrize("level", LEVELS)
def test_this_client_understands_the_answers_of_older_servers(
    level: int, settled: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What this client asks besides, which each of these servers answers: its version, an environment, names.
    further = {
        (each["method"], each["path"]): Answer(each["status"], {}, json.dumps(each["answer"]).encode())
        for step in recorded(level)
        for each in step["exchanges"]
        if each["method"] == "GET" and each["path"].startswith(("version", "secrets?"))
    }
    further["GET", "environments/development"] = Answer(200, {}, b"{}")
    for step in recorded(level):
        left = [*step["exchanges"]]

        def answers(method: str, path: str, body: Any, left: list[Any] = left) -> Answer:
            if (method, path) in further and not (left and left[0]["path"] == path):
                return further[method, path]
            expected = left.pop(0)
            assert (method, path) == (expected["method"], expected["path"])
            assert body == expected["body"]
            return Answer(expected["status"], {}, json.dumps(expected["answer"]).encode())

        answering(monkeypatch, answers)
        type_in(monkeypatch, step["given"])
        code = main(step["arguments"])
        assert code == (Exit.NOT_FOUND if step["exchanges"][-1]["status"] == 404 else 0), step["arguments"]
        assert left == []
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("level", LEVELS)
def test_this_server_answers_older_clients_as_it_did(level: int, inside: Inside) -> None:
    digest = "*"
    for step in recorded(level):
        for each in step["exchanges"]:
            body = each["body"] and {
                name: digest if value == "*" else value for name, value in each["body"].items()
            }
            content = None if body is None else json.dumps(body).encode()
            answer = inside.answer(Api("", inside.token), each["method"], f"/api/{each['path']}", content, {})
            assert answer.status == each["status"], (each, answer.body)
            found = answer.document()
            assert lost(each["answer"], found) == [], each["path"]
            digest = found.get("digest", digest) if isinstance(found, dict) else digest


def lost(expected: Any, found: Any, path: str = "") -> list[str]:
    """Return what an older client reads and no longer finds: members, or the type of a value."""
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return [path]
        missing = [f"{path}.{name}" for name in expected if name not in found]
        return missing + [
            each
            for name in expected.keys() & found.keys()
            for each in lost(expected[name], found[name], f"{path}.{name}")
        ]
    if isinstance(expected, list):
        if not isinstance(found, list) or (expected and not found):
            return [path]
        if expected and isinstance(expected[0], str):
            return [] if set(expected) <= set(found) else [path]
        return [each for row in found[:1] for each in lost(expected[0], row, f"{path}[]")] if expected else []
    return [] if type(expected) is type(found) else [path]


def test_a_server_without_levels_is_used_and_a_newer_one_is_refused_in_words(
    settled: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    level = NONE

    def answers(method: str, path: str, body: Any) -> Answer:
        if path == "version" and level == NONE:
            return Answer(404, {}, b"{}")
        return Answer(200, {}, json.dumps({"version": "9.0", "api_level": level, "features": []}).encode())

    answering(monkeypatch, answers)
    assert main(["version"]) == 0
    assert "API level 0" in capsys.readouterr().out
    level = NEXT
    assert main(["version"]) == Exit.UNREACHABLE
    assert "Keeper 9.0 is newer than kpr" in capsys.readouterr().err
    type_in(monkeypatch, f"kpr_{'a' * 22}_{'b' * 43}")
    assert main(["login", "--token"]) == Exit.UNREACHABLE


def test_every_level_has_its_recording() -> None:
    assert list(range(max(1, API_LEVEL - 2), API_LEVEL + 1)) == LEVELS
    assert sorted(path.stem for path in RECORDED.iterdir()) == [f"level-{level}" for level in LEVELS]
