"""`kpr import`: what other products export, the plan first, and no value on any output."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from secrets_app.models import Secret

from kpr.__main__ import main
from kpr.api import Api
from kpr.errors import Exit, UnreachableError, UsageError
from kpr.importing import _written, source_of
from kpr.tests.conftest import Inside

SECRET = "c4n4ry-of-imports"
DOPPLER = {
    "DOPPLER_PROJECT": "shop",
    "DOPPLER_CONFIG": "dev",
    "DOPPLER_ENVIRONMENT": "dev",
    "API_KEY": SECRET,
}
DOPPLER_FULL = {
    "API_KEY": {"computed": SECRET, "raw": "${x}", "note": "of Stripe", "computedVisibility": "masked"}
}
INFISICAL = [
    {
        "key": "API_KEY",
        "value": SECRET,
        "workspace": "w",
        "type": "shared",
        "comment": "of Stripe",
        "tags": [],
    },
    {"key": "API_KEY", "value": SECRET + "2", "secretPath": "/billing/eu"},
]
VAULT = {"request_id": "r", "data": {"data": {"value": SECRET}, "metadata": {"version": 1}}}
EXPORTS: dict[str, tuple[str, Any, dict[str, str]]] = {
    "dotenv": ("a.env", f"API_KEY='{SECRET}'\n", {"API_KEY": SECRET}),
    "json": ("a.json", {"API_KEY": SECRET}, {"API_KEY": SECRET}),
    "yaml": ("a.yaml", f"API_KEY: {SECRET}\n", {"API_KEY": SECRET}),
    "doppler": ("a.json", DOPPLER, {"API_KEY": SECRET}),
    "doppler-full": ("a.json", DOPPLER_FULL, {"API_KEY": SECRET}),
    "infisical": ("a.json", INFISICAL, {"API_KEY": SECRET, "billing/eu/API_KEY": SECRET + "2"}),
    "vault": ("a.json", [{"path": "app/key", **VAULT}], {"app/key": SECRET}),
}


Kpr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kpr(inside: Inside, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kpr:
    def run(*arguments: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        code = main(arguments)
        shown = capsys.readouterr()
        assert SECRET not in shown.out + shown.err or arguments[0] in {"get", "export"}
        return code, shown.out, shown.err

    return run


def test_each_export_arrives_with_its_values(kpr: Kpr, tmp_path: Path) -> None:
    for kind, (name, content, expected) in EXPORTS.items():
        text = content if isinstance(content, str) else json.dumps(content)
        assert source_of(name, text) == kind.partition("-")[0], kind
        (tmp_path / name).write_text(text)
        below = f"imported-{kind}"
        code, out, err = kpr("import", name, "--below", below, "--format", "json")
        assert (code, err) == (0, ""), kind
        rows = json.loads(out)["results"]
        assert {row["name"] for row in rows} == {f"{below}/{each}" for each in expected}, kind
        assert {row["done"] for row in rows} == {True}
        exported = json.loads(kpr("export", "--prefix", below, "--format", "json")[1])
        assert exported == {f"{below}/{each}": value for each, value in expected.items()}, kind


def test_a_plan_is_shown_and_values_are_replaced_only_on_request(kpr: Kpr, tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.write_text("ONE=1\nTWO=2\n")
    assert kpr("import", "a.env", "--dry-run")[1].splitlines()[-1] == "Planned: 2 new."
    assert kpr("list")[:2] == (0, "")
    assert kpr("import", "-", given="ONE=1\n")[0] == 0
    file.write_text("ONE=changed\nTWO=2\n")
    code, _, err = kpr("import", "a.env")
    assert (code, "--yes" in err) == (Exit.USAGE, True)
    assert kpr("get", "ONE")[1] == "1"
    assert kpr("import", "a.env", "--keep-existing")[0] == 0
    assert (kpr("get", "ONE")[1], kpr("get", "TWO")[1]) == ("1", "2")
    assert kpr("import", "a.env", "--yes")[0] == 0
    assert kpr("get", "ONE")[1] == "changed"


def test_an_entry_that_is_refused_is_reported_by_the_exit_code(kpr: Kpr) -> None:
    code, _, err = kpr("import", "-", given=json.dumps({"fine": SECRET, "not a name": SECRET}))
    assert code == Exit.REFUSED
    assert "1 of 2 entries were refused" in err
    assert kpr("get", "fine")[1] == SECRET


def test_a_name_that_comes_twice_is_reported_as_refused(kpr: Kpr) -> None:
    code, out, err = kpr("import", "-", "--yes", given=f"TWICE=first\nONCE=1\nTWICE={SECRET}\n")
    assert code == Exit.REFUSED
    assert "1 of 3 entries were refused" in err
    assert "An earlier entry has the same name" in out
    assert SECRET not in out + err


@pytest.mark.parametrize("content", [f"{{{SECRET}", f"[{SECRET}"])
def test_a_damaged_file_is_not_quoted(content: str) -> None:
    with pytest.raises(UsageError) as refused:
        source_of("a.json", content)
    assert SECRET not in str(refused.value)


def test_a_long_file_is_sent_in_parts_and_resumed(
    kpr: Kpr, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"KEY_{number:04}={number}" for number in range(2500)]
    # Its name is in the first part already.
    (tmp_path / "long.env").write_text("\n".join([*lines, "KEY_0001=another"]))
    assert kpr("import", "long.env", "--dry-run")[1].splitlines()[-1] == "Planned: 2500 new, 1 refused."
    answer = inside.answer

    def failing(api: Any, method: str, target: str, content: bytes | None, extra: Any) -> Any:
        sent = json.loads(content or b"{}")
        if sent.get("part") == 3 and sent.get("dry_run") is False:
            raise UnreachableError("The network is away.")
        return answer(api, method, target, content, extra)

    monkeypatch.setattr(inside, "answer", failing)
    code, _, err = kpr("import", "long.env")
    assert code == Exit.UNREACHABLE
    assert "Stored: 2 of 3 parts, 2000 entries. Run the same command again" in err
    assert Secret.objects.count() == 2000

    monkeypatch.setattr(inside, "answer", answer)
    code, out, _ = kpr("import", "long.env")
    assert (code, out.splitlines()[-1]) == (Exit.REFUSED, "Imported: 500 new, 1 refused, 2000 same.")
    assert Secret.objects.count() == 2500
    assert kpr("get", "KEY_0001")[1] == "1"


def test_an_older_server_gets_no_part(kpr: Kpr, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Api, "version", lambda _: {"features": ["import"]})
    sent: list[Any] = []
    answer = inside.answer

    def seen(api: Any, method: str, target: str, content: bytes | None, extra: Any) -> Any:
        sent.append(json.loads(content or b"{}"))
        return answer(api, method, target, content, extra)

    monkeypatch.setattr(inside, "answer", seen)
    assert kpr("import", "-", given="A=1")[0] == 0
    assert not [each for each in sent if "part" in each]


def test_what_an_earlier_part_has_done_is_told_as_done() -> None:
    """Each part tells of all entries: the later one finds what the earlier wrote unchanged."""
    name, plan = {"name": "app/key"}, {"digest": "d"}
    answers = iter(
        [
            {
                "results": [{**name, "result": "created", "done": True}],
                "unfinished": {"digest": "d", "after": "a"},
            },
            {"results": [{**name, "result": "unchanged", "done": False}], "unfinished": None},
        ]
    )
    api = SimpleNamespace(send=lambda *_, **__: SimpleNamespace(document=lambda: next(answers)))
    assert _written(api, "/x", {}, plan) == [{**name, "result": "created", "done": True}]  # type: ignore[arg-type]
