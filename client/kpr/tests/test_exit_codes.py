"""Each exit code of docs/kpr.md, by what gives it, against Keeper in this process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from environments_app.models import Environment
from environments_app.tests.cast import Cast

from kpr.__main__ import main
from kpr.api import Answer, Api
from kpr.errors import Exit
from kpr.tests.conftest import CLIENT, Inside
from kpr.tests.test_levels import type_in


def code(monkeypatch: pytest.MonkeyPatch, *arguments: str, given: str = "value") -> int:
    type_in(monkeypatch, given)
    return main(arguments)


def test_each_outcome_has_its_code(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clash/a-b", "clash/a_b"):
        assert code(monkeypatch, "set", name) == Exit.DONE
    expected: dict[tuple[str, ...], Exit] = {
        ("fly",): Exit.USAGE,
        ("get", "app/absent"): Exit.NOT_FOUND,
        ("get", "app/absent", "-e", "nowhere"): Exit.NOT_FOUND,
        ("set", "no name"): Exit.REFUSED,
        ("export", "--format", "shell", "--prefix", "clash"): Exit.NAMES,
        ("run", "--prefix", "clash", "--", "true"): Exit.OWN_FAILURE,
        ("scan", __file__): Exit.DONE,
    }
    assert {case: code(monkeypatch, *case) for case in expected} == expected


def test_what_waits_for_approval_has_a_code_of_its_own(
    inside: Inside, cast: Cast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Environment.objects.get(pk=cast.development.pk)
    place.protected = True
    place.save()
    assert code(monkeypatch, "set", "app/key") == Exit.PENDING
    assert "/approvals/" in capsys.readouterr().err


def test_a_token_that_is_not_accepted_and_one_that_may_not(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = {
        401: Exit.SIGN_IN,
        403: Exit.FORBIDDEN,
        429: Exit.UNREACHABLE,
        500: Exit.UNREACHABLE,
        400: Exit.REFUSED,
    }
    for status, expected in statuses.items():

        def answer(*_: Any, status: int = status, **__: Any) -> Answer:
            return Answer(status, {}, b'{"detail": "in words"}')

        monkeypatch.setattr(Api, "_try", answer)
        assert code(monkeypatch, "get", "app/key") == expected, status
    monkeypatch.setattr(Api, "send", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert code(monkeypatch, "get", "app/key") == Exit.INTERRUPTED


@pytest.mark.parametrize("module", ["argparse", "ssl"])
def test_an_interrupt_while_kpr_is_loaded_leaves_no_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    variables = {"PYTHONPATH": f"{tmp_path}:{CLIENT}", "HOME": str(tmp_path), "KPR_TOKEN": "kpr_a_b"}
    ended = subprocess.run(
        [sys.executable, "-m", "kpr", "get", "app/key", "-e", "development"],
        env={**variables, "KPR_SERVER": "https://keeper.invalid"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (Exit.INTERRUPTED, b"", b"")
