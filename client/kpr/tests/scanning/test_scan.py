"""`kpr scan`: it finds secrets of known kinds and learned values, and never prints them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kpr.__main__ import main
from kpr.api import Answer, Api
from kpr.errors import Exit
from kpr.scanning import sources
from kpr.scanning.fingerprints import SERVICE, Fingerprints, forget_fingerprints
from kpr.scanning.patterns import find_patterns

LONG = "aZ09" * 20
# Put together here, so that no scanner takes this file for a leak.
SAMPLES = {
    "Keeper token": f"kp{'r_'}{LONG[:22]}_{LONG[:43]}",
    "private key": f"-----BEGIN RSA {'PRIVATE'} KEY-----\n{LONG[:64]}",
    "AWS access key ID": f"AK{'IA'}ABCDEFGHIJKLMNOP",
    "AWS secret access key": f'aws_secret_access_key = "{LONG[:40]}"',
    "GitHub token": f"gh{'p_'}{LONG[:36]}",
    "GitLab token": f"gl{'pat-'}{LONG[:20]}",
    "Slack token": f"xo{'xb-'}{LONG[:24]}",
    "Slack webhook": f"https://hooks.slack{'.com'}/services/T0AAA/B0BBB/{LONG[:24]}",
    "Stripe key": f"sk{'_live_'}{LONG[:24]}",
    "Google API key": f"AI{'za'}{LONG[:35]}",
    "npm token": f"np{'m_'}{LONG[:36]}",
    "PyPI token": f"py{'pi-AgE'}{LONG[:60]}",
    "SendGrid key": f"S{'G.'}{LONG[:22]}.{LONG[:43]}",
    "Vault token": f"hv{'s.'}{LONG[:24]}",
    "Doppler token": f"dp{'.st.'}prd.{LONG[:43]}",
    "OpenAI or Anthropic key": f"sk{'-ant-'}{LONG[:60]}",
    "password in an address": f"postgres://app:{LONG[:12]}{'@'}db.example.com/app",
}
HARMLESS = """
AKIAIOSFODNN7EXAMPLE of the documentation, postgres://user:password@host, postgres://user:${PASSWORD}@host
BEGIN = "-----BEGIN PRIVATE KEY-----"; prefix = "ghp_"; hash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
"""
SERVER = "https://keeper.example.com"
VALUES = {
    "app/db-password": "correct horse: battery",
    "app/key": "first line of it\nsecond line of it",
    "app/pin": "1234",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyring: Path) -> Path:
    monkeypatch.setenv("KPR_SERVER", SERVER)
    monkeypatch.setenv("KPR_ENVIRONMENT", "development")
    found = tmp_path / "tree"
    found.mkdir()
    monkeypatch.chdir(found)
    return found


def scan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[tuple[int, str]], str]:
    code = main(["scan", "--format", "json", *arguments])
    shown = capsys.readouterr()
    found = json.loads(shown.out)["findings"]
    return code, [(each["line"], each["kind"]) for each in found], shown.out + shown.err


def test_each_kind_is_found_and_nothing_harmless() -> None:
    for kind, sample in SAMPLES.items():
        for text in (sample, f'x = "{sample}"\n', f"\n  key: {sample}\n"):
            assert [found for _, found in find_patterns(text)] == [kind], kind
    assert list(find_patterns(HARMLESS)) == []


def test_a_finding_names_place_and_kind_and_never_the_secret(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, sample in enumerate(SAMPLES.values()):
        (folder / f"{place:02}.txt").write_text(f"harmless\n{sample}\n")
    (folder / "allowed.txt").write_text(f"{SAMPLES['npm token']}  # kpr:allow: made up\n")
    (folder / "binary").write_bytes(b"\0" + SAMPLES["npm token"].encode())
    code, found, shown = scan(capsys, str(folder))
    assert code == Exit.FOUND
    assert found == [(2, kind) for kind in SAMPLES]
    assert LONG[:12] not in shown
    assert main(["scan", "00.txt"]) == Exit.FOUND
    told = capsys.readouterr()
    assert told.out == "00.txt:2: Keeper token\n"
    assert LONG[:12] not in told.err


def test_a_line_that_is_allowed_allows_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = SAMPLES["npm token"]
    (folder / "two.txt").write_text(f"{token}  # kpr:allow: made up\n{token}\n")
    assert scan(capsys, str(folder))[:2] == (Exit.FOUND, [(2, "npm token")])


def test_a_folder_is_scanned_without_links_and_what_git_keeps_and_counts_what_it_skips(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_MAX_BYTES", 200)
    leak = f"KEY={SAMPLES['npm token']}\n"
    (folder / ".git").mkdir()
    (tmp_path / "outside").write_text(leak)
    (folder / "link").symlink_to(tmp_path / "outside")
    for name, content in (
        (".git/config", leak),
        ("large", leak + "x" * (201 - len(leak))),
        ("binary", leak + "\0"),
        ("whole", leak + "x" * (200 - len(leak))),
    ):
        (folder / name).write_text(content)
    assert main(["scan", "--format", "json", "."]) == Exit.FOUND
    told = json.loads(capsys.readouterr().out)
    assert [Path(each["path"]).name for each in told["findings"]] == ["whole"]
    assert (told["files"], told["skipped"]) == (1, 2)


def test_what_is_staged_is_scanned_as_it_is_staged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan"]) == Exit.USAGE
    assert "no Git repository" in capsys.readouterr().err
    git("init", "-q")
    path, ignored = folder / "späße.env", folder / "ignored.env"
    (folder / ".gitignore").write_text("ignored.env\n")
    for each in (path, ignored):
        each.write_text(f"KEY={SAMPLES['npm token']}\n")
    assert scan(capsys, "--staged")[:2] == (0, [])
    git("add", path.name)
    path.write_text("removed only here\n")
    assert scan(capsys, "--staged")[:2] == (Exit.FOUND, [(1, "npm token")])
    assert scan(capsys)[:2] == (0, [])
    assert main(["scan", "--staged", path.name]) == Exit.USAGE


def test_learned_values_are_found_by_fingerprints_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def send(api: Api, method: str, path: str, **_: Any) -> Answer:
        asked.append(path)
        return Answer(200, {}, json.dumps(VALUES).encode())

    monkeypatch.setattr(Api, "send", send)
    monkeypatch.setenv("KPR_TOKEN", f"kpr_{'a' * 22}_{'b' * 43}")
    assert main(["scan", "--learn"]) == 0
    # What is too short is a word of any text.
    assert "2 secrets" in capsys.readouterr().out
    (folder / "notes.md").write_text(
        'password: "correct horse: battery"\nPIN 1234\nDB=correct horse: battery\n  second line of it\n'
    )
    code, found, shown = scan(capsys, "notes.md")
    assert code == Exit.FOUND
    password, key = (f"value of development/{name}" for name in ("app/db-password", "app/key"))
    assert found == [(1, password), (3, password), (4, key)]
    assert asked == ["environments/development/export"]
    stored = (tmp_path / "cache" / "kpr" / "fingerprints.json").read_text()
    assert not [value for value in VALUES.values() if value in shown + stored]


def test_what_is_learned_of_one_environment_or_server_keeps_that_of_the_others(
    folder: Path, keyring: Path
) -> None:
    learned = {"development": "correct horse: battery", "production": "another horse: battery"}
    for environment, value in learned.items():
        assert Fingerprints(SERVER).learn(environment, {"key": value}) == 1
    Fingerprints("https://another.example.com").learn("elsewhere", {"key": "third horse: battery"})
    known = Fingerprints(SERVER)
    assert known.load()
    assert {environment: list(known.find(value)) for environment, value in learned.items()} == {
        "development": ["development/key"],
        "production": ["production/key"],
    }
    assert list(known.find("third horse: battery")) == []
    # What is learned again replaces what that environment held before.
    Fingerprints(SERVER).learn("production", {"key": "newest horse: battery"})
    assert known.load()
    assert list(known.find(learned["production"])) == []
    assert list(known.find(learned["development"])) == ["development/key"]


def test_fingerprints_are_useless_without_their_key_and_end_with_the_sign_in(
    folder: Path, keyring: Path
) -> None:
    known = Fingerprints(SERVER)
    known.learn("development", VALUES)
    assert known.load()
    assert list(known.find("correct horse: battery")) == ["development/app/db-password"]
    rings = json.loads(keyring.read_text())
    keyring.write_text("{}")
    assert not Fingerprints(SERVER).load()
    keyring.write_text(json.dumps(rings))
    forget_fingerprints(SERVER)
    assert not Fingerprints(SERVER).load()
    assert f"{SERVICE} {SERVER}" not in json.loads(keyring.read_text())


def test_without_a_keyring_nothing_is_learned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOCKED", "1")
    with pytest.raises(Exception, match="need a keyring"):
        Fingerprints(SERVER).learn("development", VALUES)


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)
