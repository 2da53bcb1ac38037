"""`kpr import` of password managers, SOPS and dotenv trees: what arrives, what is told as left, what is refused."""

import base64
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from secrets_app.models import Secret

from kpr import password_managers, plain_files
from kpr.errors import Exit, UsageError
from kpr.importing import source_of
from kpr.password_managers import of_1pux, of_bitwarden, read_1pux
from kpr.tests.test_importing import SECRET, Kpr, kpr

__all__ = ["kpr"]


def item(title: str, details: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "uuid": "u",
        "state": "active",
        "categoryUuid": "001",
        "overview": {"title": title},
        "details": details,
        **more,
    }


ITEMS = [
    item("Shop DB", {
        "loginFields": [
            {"value": "app", "designation": "username", "fieldType": "T"},
            {"value": SECRET, "designation": "password", "fieldType": "P"},
            {"value": "✓", "name": "remember", "fieldType": "C"},
        ],
        "notesPlain": "rotate in May",
        "sections": [{"title": "", "fields": [
            {"title": "token", "value": {"concealed": "t1"}},
            {"title": "token", "value": {"concealed": "t2"}},
            {"title": "one-time password", "value": {"totp": "otpauth://totp/x?secret=A"}},
            {"title": "empty", "value": {"string": ""}},
            {"title": "valid until", "value": {"monthYear": 203001}},
            {"title": "none", "value": None},
        ]}],
    }),
    item("API key", {"sections": [{"fields": [{"title": "credential", "value": {"concealed": SECRET}}]}]}),
    item("API key", {"password": "second", "sections": []}),
    item("../../etc/passwd", {"notesPlain": SECRET}),
    item("Server", {"sections": [{"fields": [{"title": "private key", "value": {"sshKey": {"privateKey": "PEM"}}}]}]}),
    item("Old", {"notesPlain": "x"}, state="archived"),
    item("Scan", {"documentAttributes": {"fileName": "a.pdf"}}),
]  # fmt: skip


def document(*items: Any) -> dict[str, Any]:
    return {"accounts": [{"attrs": {}, "vaults": [{"attrs": {"name": "Shop & Co"}, "items": list(items)}]}]}


def archive(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            made.writestr(name, content)
    return path


def exported(kpr: Kpr, below: str) -> dict[str, str]:
    found = json.loads(kpr("export", "--prefix", below, "--format", "json")[1])
    return {name.removeprefix(f"{below}/"): value for name, value in found.items()}


def test_a_1pux_arrives(kpr: Kpr, tmp_path: Path) -> None:
    data = json.dumps(document(*ITEMS)).encode()
    archive(tmp_path / "a.1pux", ("export.attributes", b'{"version": 3}'), ("export.data", data),
            ("../../evil", b"x"))  # fmt: skip
    code, _, err = kpr("import", "a.1pux", "--below", "op")
    assert code == 0, err
    assert err.splitlines() == [
        "4 are left out, Keeper has no place for them:", "  Shop & Co/Shop DB: a one-time password",
        "  Shop & Co/Old: archived", "  Shop & Co/Scan: a file", "  Shop & Co/Scan: nothing that is a text",
    ]  # fmt: skip
    found = exported(kpr, "op/Shop___Co")
    assert json.loads(found.pop("Shop_DB")) == {
        "username": "app", "password": SECRET, "token": "t1", "token-2": "t2", "valid until": "203001",
        "notes": "rotate in May",
    }  # fmt: skip
    assert found == {
        "API_key": SECRET, "API_key-2": "second", ".._.._etc_passwd": SECRET, "Server": "PEM",
    }  # fmt: skip
    # Version 2 has each item beside its file.
    assert of_1pux(document({"item": ITEMS[1], "file": None}))[0][0]["value"] == SECRET
    assert not (tmp_path.parent.parent / "evil").exists()


def test_a_hostile_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.dumps(document(*ITEMS)).encode()
    twice = tmp_path / "twice"
    with pytest.warns(UserWarning, match="Duplicate"):
        archive(twice, ("export.data", whole), ("export.data", whole))
    cut = tmp_path / "cut"
    cut.write_bytes(archive(tmp_path / "whole", ("export.data", whole)).read_bytes()[:-30])
    damaged = bytearray((tmp_path / "whole").read_bytes())
    damaged[60:70] = bytes(10)
    (tmp_path / "damaged").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("export.data", whole)
    text = tmp_path / "text"
    text.write_text(SECRET)
    for path in (
        twice,
        cut,
        tmp_path / "damaged",
        text,
        archive(tmp_path / "other", ("a", b"b")),
        tmp_path / "packed",
    ):
        with path.open("rb") as file, pytest.raises(UsageError, match="no 1PUX") as refused:
            read_1pux(file)
        assert SECRET not in str(refused.value)
    # It claims a small size in its directory, and unpacks to more than is read.
    monkeypatch.setattr(password_managers, "MAX_BYTES", 1_000)
    bomb = archive(tmp_path / "bomb", ("export.data", b" " * 5_000_000)).read_bytes()
    with pytest.raises(UsageError, match="more than 64 MiB"):
        read_1pux(io.BytesIO(bomb))
    monkeypatch.setattr(password_managers, "_MAX_ENTRIES", 2)
    many = archive(tmp_path / "many", *((str(number), b"") for number in range(4)), ("export.data", b"{}"))
    with many.open("rb") as file, pytest.raises(UsageError, match="no 1PUX"):
        read_1pux(file)
    monkeypatch.setattr(password_managers, "_MAX_ITEMS", 2)
    with pytest.raises(UsageError, match="more than 2 items"):
        of_1pux(document(*ITEMS))
    broken: list[Any] = [
        [], {}, {"accounts": 1}, document("x"), document({"overview": {}}), document({"overview": 1}),
    ]  # fmt: skip
    for wrong in broken:
        with pytest.raises(UsageError, match="no 1PUX"):
            of_1pux(wrong)


BITWARDEN = {
    "encrypted": False,
    "folders": [{"id": "f1", "name": "shop/eu"}],
    "items": [
        {"type": 1, "name": "db", "folderId": "f1", "notes": None, "fields": [
            {"name": "port", "value": "5432", "type": 0}, {"name": "linked", "value": "x", "type": 3},
        ], "login": {"username": "app", "password": SECRET, "totp": "otpauth://x", "uris": [{"uri": "https://x"}]}},
        {"type": 1, "name": "only", "folderId": None, "login": {"username": None, "password": SECRET, "uris": None}},
        {"type": 2, "name": "note", "notes": SECRET, "secureNote": {"type": 0}},
        {"type": 3, "name": "card", "card": {"number": "4111"}},
        {"type": 5, "name": "key", "sshKey": {"privateKey": "PEM", "publicKey": "ssh-ed25519 A"}},
    ],
}  # fmt: skip
BWS = [
    {
        "id": "i",
        "organizationId": "o",
        "projectId": "p",
        "key": "API_KEY",
        "value": SECRET,
        "note": "of Stripe",
    }
]


def test_an_export_of_bitwarden_arrives(kpr: Kpr, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(BITWARDEN))
    assert source_of("a.json", json.dumps(BITWARDEN)) == "bitwarden"
    code, _, err = kpr("import", "a.json", "--below", "bw")
    assert code == 0
    assert err.splitlines()[1:] == [
        "  shop/eu/db: a one-time password",
        "  card: a card, an identity, or nothing that is a text",
    ]
    found = exported(kpr, "bw")
    assert json.loads(found.pop("shop/eu/db")) == {
        "username": "app", "password": SECRET, "uri": "https://x", "port": "5432",
    }  # fmt: skip
    assert json.loads(found.pop("key")) == {"privateKey": "PEM", "publicKey": "ssh-ed25519 A"}
    assert found == {"only": SECRET, "note": SECRET}
    (tmp_path / "b.json").write_text(json.dumps(BWS))
    assert kpr("import", "b.json", "--below", "bws")[0] == 0
    assert exported(kpr, "bws") == {"API_KEY": SECRET}


def test_an_encrypted_or_broken_export_is_refused(kpr: Kpr) -> None:
    code, _, err = kpr(
        "import", "-", given=json.dumps({"encrypted": True, "encKeyValidation_DO_NOT_EDIT": "2.x"})
    )
    assert (code, "is encrypted" in err) == (Exit.USAGE, True)
    broken: list[Any] = [[], {"items": 1}, {"items": [{"type": 1}]}, {"items": [{"type": 1, "name": "x"}]}]
    for wrong in broken:
        with pytest.raises(UsageError, match="no export of Bitwarden"):
            of_bitwarden(wrong)
    code, _, err = kpr(
        "import",
        "-",
        given="[" * 100_000,
    )
    assert code == Exit.USAGE


def fake_sops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "bin" / "sops"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


ENCRYPTED = """password: ENC[AES256_GCM,data:abc=,iv:def=,tag:ghi=,type:str]
sops:
    age:
        - recipient: age1x
    version: 3.11.0
"""


def test_what_sops_encrypted_is_decrypted_by_it(
    kpr: Kpr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text(ENCRYPTED)
    monkeypatch.setenv("KPR_TOKEN_OF_TEST", SECRET)
    fake_sops(
        tmp_path,
        monkeypatch,
        f'echo "$@" > {tmp_path}/asked; env >> {tmp_path}/asked; echo "password: {SECRET}"',
    )
    assert kpr("import", "a.yaml", "--below", "sops")[0] == 0
    assert exported(kpr, "sops") == {"password": SECRET}
    asked = (tmp_path / "asked").read_text()
    assert asked.splitlines()[0] == "-d -- a.yaml"
    assert "KPR_" not in asked
    (tmp_path / "a.ini").write_text("[db]\npassword = ENC[AES256_GCM,data:x]\n[sops]\nversion = 3.11.0\n")
    fake_sops(
        tmp_path,
        monkeypatch,
        f"""echo "$@" > {tmp_path}/asked; echo '{{"DEFAULT": {{}}, "db": {{"password": "p"}}}}'""",
    )
    assert kpr("import", "a.ini", "--from", "json", "--below", "ini")[0] == 0
    assert (tmp_path / "asked").read_text() == "-d --output-type json -- a.ini\n"
    found = exported(kpr, "ini")
    assert (set(found), json.loads(found["db"])) == ({"db"}, {"password": "p"})


BINARY = """{
\t"data": "ENC[AES256_GCM,data:abc=,iv:def=,tag:ghi=,type:str]",
\t"sops": {
\t\t"version": "3.11.0"
\t}
}
"""


@pytest.mark.parametrize(
    ("content", "value", "tags"),
    [
        (b"-----BEGIN KEY-----\nabc\n", "-----BEGIN KEY-----\nabc\n", []),
        (bytes(range(256)), base64.b64encode(bytes(range(256))).decode(), ["binary:base64"]),
        (b"a\0b", "YQBi", ["binary:base64"]),
    ],
)
def test_what_sops_encrypted_as_a_whole_is_one_secret(
    kpr: Kpr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, value: str, tags: list[str]
) -> None:
    (tmp_path / "tls.key.enc").write_text(BINARY)
    (tmp_path / "plain").write_bytes(content)
    fake_sops(tmp_path, monkeypatch, f"cat {tmp_path}/plain")
    assert kpr("import", "tls.key.enc", "--below", "whole")[0] == 0
    assert exported(kpr, "whole") == {"tls.key": value}
    assert Secret.objects.get(name="whole/tls.key").tags == tags


def test_a_dotenv_file_that_sops_encrypted_as_a_whole_is_imported_as_one(
    kpr: Kpr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prod.enc").write_text(BINARY)
    fake_sops(tmp_path, monkeypatch, f"echo A={SECRET}")
    assert kpr("import", "prod.enc", "--from", "dotenv", "--below", "env")[0] == 0
    assert exported(kpr, "env") == {"A": SECRET}


def test_a_file_that_sops_cannot_open_is_told(
    kpr: Kpr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text(ENCRYPTED)
    fake_sops(tmp_path, monkeypatch, f"echo {SECRET} >&2; exit 128")
    code, _, err = kpr("import", "a.yaml")
    assert (code, "exit code 128" in err) == (Exit.USAGE, True)
    assert kpr("import", "-", given=ENCRYPTED)[0] == Exit.USAGE
    monkeypatch.setattr(plain_files, "_SECONDS", 0.2)
    fake_sops(tmp_path, monkeypatch, "exec sleep 20")
    assert "within" in kpr("import", "a.yaml")[2]
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = kpr("import", "a.yaml")
    assert (code, "install sops" in err) == (Exit.USAGE, True)


def test_the_dotenv_files_of_an_environment_are_found_in_a_tree(kpr: Kpr, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name, text in (
        (".env.development", f"A={SECRET}"), ("apps/shop/.env.development", "API_KEY=one"), (".env", "A=local"),
        ("apps/shop/.env.production", "API_KEY=two"), (".env.example", "A="), (".git/.env.development", "A=x"),
        ("node_modules/x/.env.development", "A=x"),
    ):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(f"{text}\n")
    (tree / "linked").mkdir()
    (tree / "linked" / ".env.development").symlink_to(tree / ".env")
    code, out, err = kpr("import", "tree", "--below", "t", "--environment", "development")
    assert (code, out.splitlines()[-1]) == (0, "Imported: 2 new.")
    assert err.splitlines() == [
        "2 are left out, they are not of development:", "  apps/shop/.env.production", "  .env",
    ]  # fmt: skip
    assert exported(kpr, "t") == {"A": SECRET, "apps/shop/API_KEY": "one"}
    # A tree of one environment names none.
    plain = tmp_path / "plain" / "shop"
    plain.mkdir(parents=True)
    (plain / ".env").write_text("A=1\n")
    assert kpr("import", "plain", "--below", "p")[0] == 0
    assert exported(kpr, "p") == {"shop/A": "1"}
    (tmp_path / "nothing").mkdir()
    assert kpr("import", "nothing")[0] == Exit.USAGE
