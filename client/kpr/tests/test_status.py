"""`kpr status` and `kpr diff`: what commands would use and whether it works, and what differs, without a value."""

import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal

from kpr import API_LEVEL, __version__
from kpr.__main__ import main
from kpr.api import Api
from kpr.errors import Exit, NoAnswerError
from kpr.tests.conftest import CANARY, Inside
from kpr.tests.test_levels import type_in


def status(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["status", "--format", "json", *options])
    told = capsys.readouterr()
    assert told.err == ""
    return code, json.loads(told.out)


def test_it_shows_the_server_the_token_and_the_environment(
    inside: Inside, cast: Cast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token, text = issue_personal(
        actor=cast.principal(cast.bob), name="laptop", environment=cast.development.name, prefix="app"
    )
    monkeypatch.setenv("KPR_TOKEN", text)
    code, found = status(capsys, "--prefix", "app")
    assert code == 0
    assert found["kpr"] == {"version": __version__, "api_level": API_LEVEL}
    assert found["server"]["address"] == "https://keeper.example.com"
    assert found["server"]["api_level"] == API_LEVEL
    assert found["who"] == {"name": "bob", "kind": "user"}
    ends = datetime.fromisoformat(found["token"].pop("expires_at").replace("Z", "+00:00"))
    assert abs(ends - token.expires_at) < timedelta(seconds=1)
    assert found["token"] == {"source": "variable", "environment": cast.development.name, "prefix": "app"}
    assert (found["environment"], found["prefix"]) == (cast.development.name, "app")
    assert found["offline"] == {"hours": 0, "copy": None}
    assert found["problem"] is None
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert (
        f"for {cast.development.name} under app, ends {token.expires_at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC, in 11 h 59 min"
        in shown
    )
    assert text not in shown


def test_what_does_not_work_is_shown_beside_what_is_known_and_has_its_code(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KPR_TOKEN", f"kpr_{'a' * 22}_{'b' * 43}")
    code, found = status(capsys)
    assert (code, "who" in found, found["server"]["api_level"]) == (Exit.SIGN_IN, False, API_LEVEL)
    assert "does not accept the token" in found["problem"]
    monkeypatch.delenv("KPR_TOKEN")
    code, found = status(capsys)
    assert (code, found["token"]) == (Exit.SIGN_IN, {"source": "none"})

    def unreachable(*_: object, **__: object) -> None:
        raise NoAnswerError("Cannot reach it.")

    monkeypatch.setattr(Api, "send", unreachable)
    code, found = status(capsys)
    assert (code, found["problem"]) == (Exit.UNREACHABLE, "Cannot reach it.")
    assert found["environment"] == "development"
    assert main(["status"]) == Exit.UNREACHABLE
    assert "problem      Cannot reach it." in capsys.readouterr().out


def test_the_offline_copy_is_shown_with_its_age(
    keyring: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KPR_OFFLINE_HOURS", "12")
    assert status(capsys)[1]["offline"] == {"hours": 12, "copy": None}
    now = time.time()
    copy = {"seconds": 6 * 3600, "stored": now - 2 * 3600, "secrets": {"app/key": CANARY}}
    monkeypatch.setattr("kpr.running.offline.OfflineCopy._content", lambda _: copy)
    found = status(capsys)[1]["offline"]["copy"]
    assert (found["seconds"] // 60, found["at_most_seconds"], found["is_usable"]) == (120, 6 * 3600, True)
    copy["stored"] = now - 7 * 3600
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "the copy is 7 h old and is too old, up to 6 h" in shown
    assert CANARY not in shown


def test_diff_compares_without_values(
    inside: Inside, cast: Cast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = cast.principal(cast.alice)
    _, text = issue_personal(actor=alice, name="laptop")
    monkeypatch.setenv("KPR_TOKEN", text)
    left, right = cast.development.name, cast.production.name
    stored = {left: {"app/same": CANARY, "app/other": CANARY, "app/here": CANARY, "apple": "1"}}
    stored[right] = {"app/same": CANARY, "app/other": "else", "app": "there", "apple": "2"}
    for environment, values in stored.items():
        for name, value in values.items():
            type_in(monkeypatch, value)
            assert main(["set", name, "-e", environment]) == 0
    capsys.readouterr()
    assert main(["diff", left, right, "--prefix", "app"]) == Exit.DIFFERENT
    told = capsys.readouterr()
    expected = [f"app: only in {right}", f"app/here: only in {left}", "app/other: differs"]
    assert (told.out.splitlines(), told.err) == (expected, "")
    assert main(["diff", left, right, "--format", "json"]) == Exit.DIFFERENT
    document = json.loads(capsys.readouterr().out)
    assert (document["left"], document["right"], document["compared"]) == (left, right, 5)
    assert {row["name"]: row["difference"] for row in document["differences"]}["apple"] == "different"
    assert main(["diff", left, right, "--prefix", "app/same"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["diff", left, left]) == Exit.USAGE
    assert main(["diff", left, "nowhere"]) == Exit.NOT_FOUND
