"""`keeper export-all`: everything in forms that other programs read, recorded, whole or not there."""

import errno
import io
import json
import os
import runpy
import stat
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from dotenv import dotenv_values

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, ReadManifestItem
from environments_app.errors import Forbidden
from environments_app.models import Delivery
from environments_app.notifications import service as notifications
from environments_app.tests.cast import Cast
from operations_app.backup.archive.format import remove_unfinished
from operations_app.export_all import age, json_lines, reading, service
from operations_app.export_all.dotenv_tree import DotenvTree
from operations_app.export_all.errors import ExportError
from operations_app.management.confirmation import database_name
from secrets_app.errors import KeyUnavailable
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows.current_versions import EnvironmentValues
from secrets_app.services import decoys, guarded, lifecycle
from secrets_app.services.version_stages import prepare, stage
from secrets_app.services.versions import delete_versions, destroy_versions
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.types.registry import SecretType
from sync_app.models import RotationPolicy
from sync_app.rotation.policies import service as policies

READER = Path(__file__).resolve().parents[3] / "docs" / "read_export.py"
Events = Callable[..., list[AuditEvent]]
UNICODE = 'pässwörd 🔑 \u2028 <&> "quoted" $HOME `id` \\ \t\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    return private


@pytest.fixture(autouse=True)
def _typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _question: database_name())


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    code = 0
    try:
        call_command("export_all", *map(str, arguments), stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, out.getvalue()


def read(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the reader as on a machine without Keeper: with Python's own modules alone."""
    program = [sys.executable, "-I", "-S", str(READER), *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def furnish(cast: Cast) -> Secret:
    secret = keep(cast, "shop/db", "one", tags=["team:shop"], owner="shop", description="the database")
    for value in ("two", UNICODE, "four", "five"):
        change(cast, secret, value)
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    delete_versions(actor=cast.principal(cast.alice), secret=secret, numbers=[2])
    destroy_versions(actor=cast.principal(cast.alice), secret=secret, numbers=[4])
    keep(cast, "json", '{"a": 1.10, "b": "ü"}', secret_type=SecretType.JSON)
    keep(cast, "other", VALUE, environment=cast.production)
    return Secret.objects.get(pk=secret.pk)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_version_is_in_the_file_with_its_state_and_the_reader_proves_it(
    cast: Cast, folder: Path, events: Events
) -> None:
    secret = furnish(cast)
    path = folder / "all.jsonl"
    code, said = run("json", path, "--plain")
    assert (code, said.splitlines()[-1]) == (0, "3 secrets, 7 versions.")
    head, *lines, tail = lines_of(path)
    assert (head["format"], head["versions"], tail["secrets"], tail["versions"]) == (
        "keeper-export/1", "all", 3, 7,
    )  # fmt: skip
    (shop,) = (line for line in lines if line.get("name") == "shop/db")
    assert (shop["tags"], shop["owner"], shop["type"], shop["current"], shop["etag"]) == (
        ["team:shop"], "shop", "TEXT", 5, secret.state,
    )  # fmt: skip
    versions = [line for line in lines if "version" in line and line["secret"] == shop["secret"]]
    assert [(each["number"], each["state"], each["value"]) for each in versions] == [
        (1, "readable", "one"),
        (2, "deleted", None),
        (3, "readable", UNICODE),
        (4, "destroyed", None),
        (5, "readable", "five"),
    ]
    assert versions[1]["deleted_at"]
    assert {each["author"] for each in versions} == {"alice"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == ["all.jsonl"]
    found = read(path)
    assert (found.returncode, found.stdout[:31]) == (0, "whole: 3 secrets, 7 versions of")
    listed = read(path, "list").stdout
    assert "development\tshop/db\tTEXT\t1,2,3,4,5" in listed
    assert UNICODE not in listed
    assert VALUE not in listed
    assert read(path, "dotenv", "production").stdout == f"OTHER='{VALUE}'\n"
    recorded = events(Action.SECRET_EXPORT)
    details = [json.loads(each.details) for each in recorded]
    assert [(each["count"], each["versions"], each["to"]) for each in details] == [
        (2, 4, "json"), (1, 1, "json"),
    ]  # fmt: skip
    # The manifests name what was opened, and nothing else.
    items = ReadManifestItem.objects.filter(manifest__in=[each.manifest_id for each in recorded])
    assert set(items.values_list("name", "number")) == {
        ("shop/db", 1), ("shop/db", 3), ("shop/db", 5), ("json", 1), ("other", 1),
    }  # fmt: skip


def test_current_versions_of_one_environment_are_exported_alone(cast: Cast, folder: Path) -> None:
    furnish(cast)
    path = folder / "some.jsonl"
    run("json", path, "--plain", "--versions", "current", "--environment", "development")
    versions = [line for line in lines_of(path) if "version" in line]
    assert [each["number"] for each in versions] == [1, 5]
    with pytest.raises(CommandError, match="no environment nowhere"):
        run("json", folder / "x", "--plain", "--environment", "nowhere")


def opened(data: bytes, key: X25519PrivateKey) -> bytes:
    """Decrypt a file of age by its specification (C2SP age.md), independently of what writes it."""

    def derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)

    def decoded(text: bytes) -> bytes:
        return b64decode(text + b"=" * (-len(text) % 4))

    header, _, rest = data.partition(b"\n--- ")
    mac, _, payload = rest.partition(b"\n")
    lines = header.split(b"\n")
    own = key.public_key().public_bytes_raw()
    for stanza, body in zip(lines[1::2], lines[2::2], strict=True):
        share = decoded(stanza.split()[2])
        shared = key.exchange(X25519PublicKey.from_public_bytes(share))
        wrap = derived(shared, share + own, b"age-encryption.org/v1/X25519")
        try:
            file_key = ChaCha20Poly1305(wrap).decrypt(bytes(12), decoded(body), None)
        except InvalidTag:
            continue
        check = hmac.HMAC(derived(file_key, b"", b"header"), hashes.SHA256())
        check.update(header + b"\n---")
        check.verify(decoded(mac))
        cipher = ChaCha20Poly1305(derived(file_key, payload[:16], b"payload"))
        chunks = [payload[at : at + 65_552] for at in range(16, len(payload), 65_552)]
        return b"".join(
            cipher.decrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, None)
            for number, chunk in enumerate(chunks)
        )
    raise InvalidTag


# Made by `age-keygen` of another implementation: recipient and scalar belong together.
RECIPIENT = "age1w48989m6n0ccqvp7gr3wdszvj7fhsnmrqsvwvl9way238z0hgqxqtul73h"


def test_a_file_is_encrypted_to_each_recipient(cast: Cast, folder: Path) -> None:
    furnish(cast)
    keys = [X25519PrivateKey.generate() for _ in range(2)]
    path, plain = folder / "all.age", folder / "plain"
    run("json", path, *(part for key in keys for part in ("--age", bech32(key))))
    data = path.read_bytes()
    assert VALUE.encode() not in data
    for key in keys:
        plain.write_bytes(opened(data, key))
        assert read(plain).returncode == 0
    with pytest.raises(InvalidTag):
        opened(data, X25519PrivateKey.generate())
    assert age.public_key(RECIPIENT).hex().startswith("754e")
    for broken in (RECIPIENT[:-1] + "q", RECIPIENT.replace("age1", "agf1"), "age1", "x", "age1" + "q" * 58):
        with pytest.raises(ExportError):
            age.public_key(broken)


def bech32(key: X25519PrivateKey) -> str:
    """Return the recipient of a key."""
    bits = "".join(f"{byte:08b}" for byte in key.public_key().public_bytes_raw()) + "0000"
    values = [int(bits[at : at + 5], 2) for at in range(0, 260, 5)]
    head = [3, 3, 3, 0, 1, 7, 5]
    check = age._polymod([*head, *values, *bytes(6)]) ^ 1
    values += [check >> 5 * (5 - index) & 31 for index in range(6)]
    return "age1" + "".join(age._BECH32[value] for value in values)


def test_it_is_not_plain_unless_that_is_asked_for(cast: Cast, folder: Path, events: Events) -> None:
    furnish(cast)
    path, passphrase = folder / "all.age", folder / "passphrase"
    with pytest.raises(CommandError, match="--plain"):
        run("json", path)
    with pytest.raises(CommandError, match="one of"):
        run("json", path, "--plain", "--age", RECIPIENT)
    for short in ("", "too short"):
        passphrase.write_text(short, encoding="utf-8")
        with pytest.raises(CommandError, match="at least 12"):
            run("json", path, "--passphrase-file", passphrase)
    assert not path.exists()
    assert not events(Action.SECRET_EXPORT)
    passphrase.write_text("correct horse battery\n", encoding="utf-8")
    run("json", path, "--passphrase-file", passphrase)
    data = path.read_bytes()
    assert data.startswith(b"age-encryption.org/v1\n-> scrypt ")
    assert VALUE.encode() not in data


def test_what_is_not_whole_is_not_taken_for_whole(cast: Cast, folder: Path) -> None:
    furnish(cast)
    path, broken = folder / "all.jsonl", folder / "broken.jsonl"
    run("json", path, "--plain")
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for wrong in (
        data[: len(data) // 2],
        b"".join(lines[:-1]),
        b"".join([*lines[:2], *lines[3:]]),
        data.replace(b'"one"', b'"two"'),
        data + lines[1],
        data + b"5\n",
        b"5\n" + data,
        data.replace(b"keeper-export/1", b"keeper-export/2"),
        b"",
    ):
        broken.write_bytes(wrong)
        found = read(broken, "dotenv", "production")
        assert (found.returncode, found.stdout) == (1, "")
        assert "not whole" in found.stderr
        assert "Traceback" not in found.stderr


def test_a_full_disk_leaves_no_file_and_is_on_record(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    furnish(cast)
    write = json_lines.JsonLines._write

    def full(self: json_lines.JsonLines, line: dict[str, Any]) -> None:
        if "end" in line:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, line)

    monkeypatch.setattr(json_lines.JsonLines, "_write", full)
    with pytest.raises(CommandError, match="No space left"):
        run("json", folder / "all.jsonl", "--plain")
    assert not list(folder.iterdir())
    recorded = [
        (each.outcome, json.loads(each.details).get("reason")) for each in events(Action.SECRET_EXPORT)
    ]
    assert recorded == [("allowed", None)] * 2 + [("failed", "Unwritable")] * 2


def test_a_key_that_cannot_be_had_leaves_no_file_and_is_on_record(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    furnish(cast)

    def away(*_: object, **__: object) -> bytes:
        # No value is opened before its event is there.
        assert events(Action.SECRET_EXPORT)
        raise KeyUnavailable("KMS does not answer", permanent=False)

    monkeypatch.setattr(EnvironmentValues, "opened", away)
    for form in (("json", folder / "all.jsonl", "--plain"), ("dotenv", folder / "tree")):
        with pytest.raises(CommandError, match="KMS"):
            run(*form)
    assert not list(folder.iterdir())
    assert [each.outcome for each in events(Action.SECRET_EXPORT)] == ["allowed", "failed"] * 2


def test_a_file_is_never_replaced_nor_put_where_others_look(cast: Cast, folder: Path, events: Events) -> None:
    furnish(cast)
    path = folder / "all.jsonl"
    path.write_text("kept", encoding="utf-8")
    with pytest.raises(CommandError, match="never replaces"):
        run("json", path, "--plain")
    assert path.read_text(encoding="utf-8") == "kept"
    folder.chmod(0o701)
    for form in (("json", folder / "new" / "x", "--plain"), ("dotenv", folder / "tree")):
        with pytest.raises(CommandError, match="mode 700"):
            run(*form)
    assert not events(Action.SECRET_EXPORT)
    run("json", folder / "x.age", "--age", RECIPIENT)


def test_another_name_typed_reads_nothing(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    furnish(cast)
    monkeypatch.setattr("builtins.input", lambda _question: "yes")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("json", folder / "all.jsonl", "--plain")
    assert not list(folder.iterdir())
    assert not events(Action.SECRET_EXPORT)


def test_a_forged_row_is_left_out_and_the_rest_is_exported(cast: Cast, folder: Path) -> None:
    secret = furnish(cast)
    Secret.objects.filter(pk=secret.pk).update(current_number=3)
    path = folder / "all.jsonl"
    code, said = run("json", path, "--plain")
    assert (code, lines_of(path)[-1]["left_out"]) == (3, ["development/shop/db"])
    assert "left out: development/shop/db" in said
    assert read(path).returncode == 0


def test_deleted_secrets_are_listed_also_those_whose_older_versions_are_read(
    cast: Cast, folder: Path
) -> None:
    secret = furnish(cast)
    delete_versions(actor=cast.principal(cast.alice), secret=secret, numbers=[5])
    assert Secret.objects.get(pk=secret.pk).is_withdrawn
    path = folder / "all.jsonl"
    code, said = run("json", path, "--plain")
    # It is said, and no failure: a nightly export stays green.
    assert (code, lines_of(path)[-1]["left_out"]) == (0, ["development/shop/db (deleted)"])
    assert "  deleted: development/shop/db\n1 deleted secrets are not exported" in said
    assert read(path).returncode == 0
    assert run("dotenv", folder / "tree", "--strict")[0] == 3
    # One that SQL alone has deleted is reported.
    Secret.objects.filter(name="other").update(live=None)
    code, said = run("json", folder / "again.jsonl", "--plain")
    left = lines_of(folder / "again.jsonl")[-1]["left_out"]
    assert (code, left) == (3, ["production/other", "development/shop/db (deleted)"])
    assert "  left out: production/other\n1 living secrets are left out." in said


def test_a_manager_is_no_operator(cast: Cast, folder: Path, events: Events) -> None:
    furnish(cast)
    with pytest.raises(Forbidden):
        service.to_json(
            actor=cast.principal(cast.alice), environments=[cast.development], path=folder / "all.jsonl",
            every_version=True, is_plain=True,
        )  # fmt: skip
    assert not list(folder.iterdir())
    assert events(Action.SECRET_EXPORT) == []


def test_a_guarded_secret_is_left_out(cast: Cast, folder: Path) -> None:
    secret = furnish(cast)
    guarded.guard(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk))
    path = folder / "all.jsonl"
    code, _ = run("json", path, "--plain")
    assert (code, lines_of(path)[-1]["left_out"]) == (3, ["development/shop/db (guarded)"])


def test_a_decoy_is_not_exported_and_nobody_is_alarmed(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    furnish(cast)
    alice, late = cast.principal(cast.alice), keep(cast, "shop/late", VALUE)
    decoys.make_decoy(actor=alice, secret=keep(cast, "shop/bait", VALUE))
    stored = reading.Reading._stored

    def made_meanwhile(self: reading.Reading, environment: Any, pks: list[int]) -> Any:
        if late.pk in pks:
            decoys.make_decoy(actor=alice, secret=late)
        return stored(self, environment, pks)

    monkeypatch.setattr(reading.Reading, "_stored", made_meanwhile)
    path = folder / "all.jsonl"
    assert run("json", path, "--plain")[0] == 0
    assert {line["name"] for line in lines_of(path) if "name" in line} == {"shop/db", "json", "other"}
    assert events("secret.decoy") == []


def test_a_name_that_moves_meanwhile_ends_it(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_VERSIONS_AT_ONCE", 1)
    first, last = keep(cast, "a", "one"), keep(cast, "b", "two")
    parts = reading.Reading._stored

    def renamed(self: reading.Reading, environment: Any, pks: list[int]) -> Any:
        if pks == [last.pk]:
            # By SQL alone it would be forged: the row is sealed under its new name.
            Secret.objects.filter(pk=first.pk).update(live=None)
            moved = Secret.objects.get(pk=last.pk)
            moved.name = "a"
            moved.seal_row()
            moved.save()
        return parts(self, environment, pks)

    monkeypatch.setattr(reading.Reading, "_stored", renamed)
    with pytest.raises(CommandError, match="renamed"):
        run("json", folder / "all.jsonl", "--plain")
    assert not list(folder.iterdir())


def test_a_value_that_a_rotation_prepares_is_not_exported(cast: Cast, folder: Path) -> None:
    secret = Secret.objects.select_related("environment").get(pk=keep(cast, "app/db", "one").pk)
    version = prepare(actor=cast.principal(cast.alice), secret=secret, value="not served yet", comment="")
    with transaction.atomic():
        stage(actor=cast.principal(cast.alice), secret=secret, version=version, details={})
    path = folder / "all.jsonl"
    run("json", path, "--plain")
    assert [(line["number"], line["value"]) for line in lines_of(path) if "version" in line] == [(1, "one")]


def test_managers_and_administrators_are_told_before(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(cast)
    people: list[Any] = []
    monkeypatch.setattr(
        "operations_app.export_all.service.message_users",
        lambda **told: people.append((told["environment"].name, [*told["people"]], told["lines"])),
    )
    run("json", folder / "x.age", "--age", RECIPIENT)
    assert [name for name, _, _ in people][:1] == ["development"]
    assert cast.alice.uuid in people[0][1]
    assert "x.age" in people[0][2][0]
    assert notifications.transports()
    assert not Delivery.objects.filter(kind="export-all").exists()


def test_dotenv_files_hold_what_has_a_variable_of_its_own(cast: Cast, folder: Path) -> None:
    furnish(cast)
    keep(cast, "shop/api-key", "k1")
    keep(cast, "shop/api_key", "k2")
    tree = folder / "tree"
    code, said = run("dotenv", tree)
    assert code == 3
    assert {line for line in said.splitlines() if "left out:" in line} == {
        "  left out: development/shop/api-key",
        "  left out: development/shop/api_key",
    }
    files = {str(each.relative_to(tree)) for each in tree.rglob("*") if each.is_file()}
    assert files == {"development/.env", "development/shop/.env", "production/.env"}
    assert (tree / "development/shop/.env").read_text(encoding="utf-8") == "DB=five\n"
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tree.rglob(".env")}
    assert modes == {0o600}
    assert [each.name for each in folder.iterdir()] == ["tree"]
    with pytest.raises(CommandError, match="never replaces"):
        run("dotenv", tree)


def test_the_tree_of_a_killed_export_goes_and_that_of_a_running_one_stays(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(cast)
    left, foreign = folder / ".tree.a.partial", folder / ".tree.partial"
    left.mkdir()
    (left / ".env").write_text("HALF=1", encoding="utf-8")
    os.utime(left, (0, 0))
    foreign.symlink_to(folder)
    add = DotenvTree.add

    def beside(self: DotenvTree, whole: Any) -> None:
        (draft,) = (each for each in folder.glob(".tree.*.partial"))
        os.utime(draft, (0, 0))
        assert remove_unfinished(folder, "tree") == 0
        assert stat.S_IMODE(draft.stat().st_mode) == 0o700
        add(self, whole)

    monkeypatch.setattr(DotenvTree, "add", beside)
    assert run("dotenv", folder / "tree")[0] == 0
    assert sorted(each.name for each in folder.iterdir()) == [".tree.partial", "tree"]


def test_a_folder_of_the_name_of_the_file_is_left_out(cast: Cast, folder: Path) -> None:
    keep(cast, "app/.env/key", "v")
    keep(cast, "app/key", "v")
    code, said = run("dotenv", folder / "tree")
    assert (code, "left out: development/app/.env/key" in said) == (3, True)
    assert (folder / "tree/development/app/.env").read_text(encoding="utf-8") == "KEY=v\n"


def test_a_name_that_no_file_system_holds_is_listed_and_the_rest_is_written(cast: Cast, folder: Path) -> None:
    furnish(cast)
    long = f"n/{'y' * 256}/key"
    keep(cast, long, "v")
    code, said = run("dotenv", folder / "tree")
    assert (code, f"left out: development/{long}" in said) == (3, True)
    assert (folder / "tree/development/shop/.env").read_text(encoding="utf-8") == "DB=five\n"


@pytest.mark.parametrize(
    "value", ["$HOME `id` \\ \n #", "it's", 'a\\\\"b', "c:\\", "a\\\nb", "", "\t'\"\\\\"]
)
def test_what_the_reader_prints_is_read_by_a_shell_and_by_python_dotenv(
    cast: Cast, folder: Path, value: str
) -> None:
    keep(cast, "1top/a-b", value or "x")
    path, env = folder / "all.jsonl", folder / "env"
    run("json", path, "--plain")
    env.write_text(read(path, "dotenv", "development").stdout, encoding="utf-8")
    shell = ["bash", "-c", f'. {env}; printf %s "$_1TOP_A_B"']
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == (value or "x")
    assert dotenv_values(env) == {"_1TOP_A_B": value or "x"}


def test_the_reader_says_what_it_cannot_print(cast: Cast, folder: Path) -> None:
    keep(cast, "shop/api-key", "one")
    keep(cast, "shop-api/key", "two")
    path = folder / "all.jsonl"
    run("json", path, "--plain")
    for environment, words in (
        ("development", "SHOP_API_KEY cannot hold shop"),
        ("nowhere", "no environment nowhere"),
    ):
        found = read(path, "dotenv", environment)
        assert (found.returncode, found.stdout, words in found.stderr) == (1, "", True)


def test_the_reader_is_short() -> None:
    assert len(READER.read_text(encoding="utf-8").splitlines()) <= 60
    assert runpy.run_path(str(READER))["__doc__"]


def test_a_policy_is_told_without_its_credential(cast: Cast, folder: Path) -> None:
    secret, forged = keep(cast, "shop/key"), keep(cast, "shop/forged")
    for each in (secret, forged):
        policies.create(
            actor=cast.principal(cast.alice), secret=each, rotator="generated", settings={"options": '{"length": 40}'},
            credentials={}, interval_seconds=86_400,
        )  # fmt: skip
    RotationPolicy.objects.filter(secret=forged.uuid).update(interval_seconds=1)
    run("json", folder / "all", "--plain")
    told = {line["name"]: line["rotation"] for line in lines_of(folder / "all") if "name" in line}
    assert told["shop/forged"] is None
    assert (told["shop/key"]["rotator"], told["shop/key"]["interval_seconds"]) == ("generated", 86_400)
    assert told["shop/key"]["settings"]["options"] == '{"length": 40}'
    assert "credentials" not in told["shop/key"]


@pytest.mark.every_database
def test_a_file_is_compared_with_what_is_here(cast: Cast, folder: Path, events: Events) -> None:
    secret = furnish(cast)
    keep(cast, "gone", VALUE)
    path = folder / "all.jsonl"
    run("json", path, "--plain")
    exports = len(events(Action.SECRET_EXPORT))
    assert run("verify", path) == (0, "4 secrets, 8 versions in the file.\n")
    alice = cast.principal(cast.alice)
    change(cast, secret, "six")
    delete_versions(actor=alice, secret=Secret.objects.get(pk=secret.pk), numbers=[3])
    lifecycle.delete(actor=alice, secret=Secret.objects.get(name="gone"))
    keep(cast, "mine")
    guarded.guard(actor=alice, secret=keep(cast, "hidden"))
    (another,) = SecretVersion.objects.filter(secret__name="json").values_list("fingerprint", flat=True)
    SecretVersion.objects.filter(secret__name="other").update(fingerprint=another)
    Secret.objects.filter(name="json").update(secret_type="TEXT")
    code, said = run("verify", path)
    assert (code, said.splitlines()[1:]) == (3, [
        "  differs: development/gone: only in the file",
        "  differs: development/json: it was changed outside Keeper",
        "  differs: development/shop/db v3: it can be read in the file alone",
        "  differs: development/shop/db: v6 is current here, v5 in the file",
        "  differs: development/mine: only here",
        "  differs: production/other v1: it has another value",
        "6 differences.",
    ])  # fmt: skip
    assert not {VALUE, UNICODE} & {*said.split()}
    # No value of Keeper's was opened for it.
    assert (len(events(Action.SECRET_EXPORT)), events(Action.SECRET_REVEAL)) == (exports, [])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CommandError, match="no whole export"):
        run("verify", path)


def test_programs_read_the_counts_and_the_question_is_not_among_them(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(question: str) -> str:
        sys.stdout.write(question)
        return database_name()

    monkeypatch.setattr("builtins.input", typed)
    secret = keep(cast, "gone", VALUE)
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    keep(cast, "stays", VALUE)
    call_command("export_all", "json", str(folder / "all.jsonl"), "--plain", "--format", "json")
    told = capsys.readouterr()
    deleted = [f"{cast.development.name}/gone"]
    assert json.loads(told.out) == {"secrets": 1, "versions": 1, "left_out": [], "deleted": deleted}
    assert "Type the name of the database" in told.err
    call_command("export_all", "verify", str(folder / "all.jsonl"), "--format", "json")
    assert json.loads(capsys.readouterr().out) == {"secrets": 1, "versions": 1, "differences": []}
