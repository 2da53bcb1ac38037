"""An export of one Keeper, carried into an empty one, exports the same there."""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django.live_server_helper import LiveServer

from audit_app.integrity.check_registry import run_checks
from audit_app.verification.stream_verifier import verify
from environments_app.models import Environment, Role
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens import service as tokens
from operations_app.management.confirmation import database_name
from operations_app.tests.backup.making import another_database
from operations_app.tests.export_all.test_export_all import UNICODE, furnish, lines_of
from secrets_app.models import Secret, VersionOrigin
from secrets_app.services.versions import delete_versions
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType
from sync_app.errors import BadDestination
from sync_app.migration import service
from sync_app.models import Migration, MigrationLine, MountRule
from sync_app.models.migration import LineState, MigrationState
from sync_app.tests.migration.driving import apply, work


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("builtins.input", lambda _question: database_name())
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    return private


def export(path: Path) -> Path:
    call_command("export_all", "json", str(path), "--plain", stdout=io.StringIO())
    return path


def carry(path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    out, code = io.StringIO(), 0
    try:
        call_command("migrate_from", "keeper", str(path), *more, "--format", "json", stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, json.loads(out.getvalue())


@contextmanager
def another_keeper(folder: Path) -> Iterator[Cast]:
    """Let another installation, with its own keys and no secret, be the one that commands act on."""
    folder.mkdir(mode=0o700)
    with another_database(folder):
        yield make_cast()


def alike(path: Path) -> list[dict[str, Any]]:
    """Return what an export says of secrets with their versions: no identifier, nor who carried them when."""
    found: list[dict[str, Any]] = []
    for line in lines_of(path)[1:-1]:
        origin = line.pop("origin", None) or {}
        told = {name: value for name, value in line.items() if name not in {"secret", "version", "etag"}}
        if "version" in line:
            told |= {"author": origin.get("author") or line["author"]}
            told |= {"written": origin.get("written") or line["written"]}
            found[-1]["versions"].append(told)
        else:
            found.append({**told, "versions": []})
    return found


def furnish_more(cast: Cast) -> None:
    furnish(cast)
    secret = keep(cast, "gone/previous", "one", tags=["a", "b:c"], custom_metadata={"team": "x", "n": "1"})
    for value in ("two", "three"):
        change(cast, secret, value, comment=f"now {value}")
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    delete_versions(actor=cast.principal(cast.alice), secret=secret, numbers=[2])
    keep(cast, "a/key", "k-1", secret_type=SecretType.API_KEY, environment=cast.production)
    keep(cast, "doc", '{"b": 1.10, "a": [1, 1e400]}', secret_type=SecretType.JSON, owner="x" * 150)
    keep(cast, "yaml", "a: 1\n", secret_type=SecretType.YAML, description="d" * 2000)
    keep(cast, "large", "\x01" * 65_536)
    # Each of its versions has a time at which it will be deleted.
    ending = keep(cast, "ending", "one", delete_version_after=86_400, max_versions=2)
    for value in ("two", "three"):
        change(cast, ending, value)


def test_an_empty_keeper_exports_what_was_carried_into_it(cast: Cast, folder: Path) -> None:
    furnish_more(cast)
    first = export(folder / "first")
    before = alike(first)
    assert {each["number"] for line in before for each in line["versions"]} == {1, 2, 3, 4, 5}
    with another_keeper(folder / "other"):
        code, report = carry(first, "--apply")
        assert (code, report["state"], report["counts"]["states"]) == (0, "done", {"carried": 9})
        assert alike(export(folder / "second")) == before
        assert not MountRule.objects.exists()
        assert [*verify(), *run_checks()] == []
    # From there once more, and nothing has got lost on the way.
    with another_keeper(folder / "third"):
        carry(folder / "second", "--apply")
        assert alike(export(folder / "third.jsonl")) == before


@pytest.mark.every_database
def test_what_came_over_the_api_exports_as_it_does_there(
    cast: Cast, folder: Path, live_server: LiveServer, settings: Any
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    furnish_more(cast)
    alice = cast.principal(cast.alice)
    _, token = tokens.issue(actor=alice, environment=cast.development, name="migration", role=Role.READER)
    rules = [service.parse_rule("development=production:arrived", lambda _: cast.production)]
    migration = service.start(
        actor=alice, source="keeper-live", settings={"address": live_server.url},
        credentials={"token": token}, rules=rules,
    )  # fmt: skip
    apply(cast, work(migration), who=cast.alice)
    assert set(MigrationLine.objects.values_list("state", flat=True)) == {LineState.CARRIED}
    sides = alike(export(folder / "both"))
    there = [line for line in sides if line["environment"] == "development"]
    here = [line for line in sides if line["name"].startswith("arrived/")]
    assert len(there) == 7
    assert here == [
        {**line, "environment": "production", "name": f"arrived/{line['name']}"} for line in there
    ]
    assert any(
        each["state"] == "readable" and each["deleted_at"] for line in here for each in line["versions"]
    )
    assert [*verify(), *run_checks()] == []


def test_a_second_export_brings_what_is_newer(cast: Cast, folder: Path) -> None:
    secret = keep(cast, "app/db", "one")
    keep(cast, "app/other", "same")
    first = export(folder / "first")
    change(cast, secret, "two")
    change(cast, secret, UNICODE)
    second = export(folder / "second")
    with another_keeper(folder / "other"):
        carry(first, "--apply")
        code, report = carry(second)
        assert (code, report["counts"]["words"]) == (0, {"newer": 1, "same": 1})
        call_command("migrate_from", "apply", str(report["migration"]), stdout=io.StringIO())
        assert Secret.objects.get(name="app/db").current_number == 3
        assert alike(export(folder / "third")) == alike(second)


def test_an_origin_that_was_changed_by_sql_is_not_exported(cast: Cast, folder: Path) -> None:
    keep(cast, "app/db", "one")
    first = export(folder / "first")
    with another_keeper(folder / "other"):
        carry(first, "--apply")
        for author, told in (("alice", True), ("mallory", False)):
            VersionOrigin.objects.update(author=author)
            origins = [line.get("origin") for line in lines_of(export(folder / author)) if "version" in line]
            assert [origin is not None for origin in origins] == [told]


def test_rules_name_other_environments(cast: Cast, folder: Path) -> None:
    keep(cast, "app/db", "one")
    path = export(folder / "first")
    code, report = carry(path, "--rule", "development=production:old", "--apply")
    assert (code, report["counts"]["words"]) == (0, {"new": 1})
    assert Secret.objects.get(name="old/app/db").environment == cast.production
    Environment.objects.filter(name="production").update(name="elsewhere")
    with pytest.raises(CommandError, match="no environment production"):
        carry(path)


def test_a_file_that_is_not_whole_is_refused(cast: Cast, folder: Path) -> None:
    furnish(cast)
    path = export(folder / "first")
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for wrong in (
        b"",
        data[:-40],
        b"".join(lines[:-1]),
        data.replace(b'"one"', b'"two"'),
        data + lines[1],
        data.replace(b"keeper-export/1", b"keeper-export/9"),
        b"age-encryption.org/v1\n" + data,
        b'{"a":' * 5_000,
        b"[" + data,
        b"x" * 3_000_000,
    ):
        broken = folder / "broken"
        broken.write_bytes(wrong)
        with pytest.raises(CommandError, match="no whole export"):
            carry(broken)
    with pytest.raises(CommandError, match="cannot be read"):
        carry(folder / "none")
    assert not Migration.objects.exists()


def test_wrong_lines_are_unreadable_one_by_one(cast: Cast, folder: Path) -> None:
    """A tail can be computed by anyone: what a line holds is not believed."""
    for name in ("a", "b", "c", "d", "e", "f"):
        keep(cast, name, "x")
    path = export(folder / "first")
    lines = lines_of(path)
    secrets = {line["name"]: line for line in lines if "name" in line}
    versions = {name: line for name in secrets for line in lines
                if "version" in line and line["secret"] == secrets[name]["secret"]}  # fmt: skip
    secrets["a"]["type"] = "NOTHING"
    versions["b"]["written"] = "yesterday"
    versions["c"]["value"] = 7
    versions["d"]["state"] = "odd"
    secrets["e"]["tags"] = ["Not A Tag"]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines[:-1])
    tail = {**lines[-1], "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(body + json.dumps(tail).encode() + b"\n")
    with another_keeper(folder / "other"):
        code, report = carry(path, "--apply")
        words = {line["path"]: line["word"] for line in report["lines"]}
        assert code == 3
        assert words == {**dict.fromkeys("abcd", "unreadable"), "e": "refused"}
        assert [each.name for each in Secret.objects.all()] == ["f"]


@pytest.mark.parametrize(
    ("words", "line", "changes"),
    [
        ("no number of its own", "number", {"number": 1}),
        ("no number of its own", "number", {"number": -1}),
        ("no number of its own", "number", {"number": 10**12}),
        ("no number of its own", "number", {"number": "2"}),
        ("no number of its own", "number", {"number": None}),
        ("no secret before it", "number", {"secret": "other"}),
        ("has no name", "name", {"name": None}),
        ("there twice", "name", {"name": "a"}),
    ],
)
def test_a_file_that_cannot_be_an_export_is_refused_although_its_checksum_is_right(
    cast: Cast, folder: Path, words: str, line: str, changes: dict[str, Any]
) -> None:
    keep(cast, "a", "x")
    change(cast, keep(cast, "b", "x"), "y")
    path = export(folder / "first")
    lines = lines_of(path)
    [each for each in lines if line in each][-1].update(changes)
    body = b"".join(json.dumps(each).encode() + b"\n" for each in lines[:-1])
    tail = {**lines[-1], "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(body + json.dumps(tail).encode() + b"\n")
    with another_keeper(folder / "other"):
        with pytest.raises(CommandError, match=words):
            carry(path, "--apply")
        assert not Migration.objects.exists()


def test_people_do_not_name_files_of_the_host(cast: Cast, folder: Path) -> None:
    keep(cast, "app/db", "one")
    path = export(folder / "first")
    rules = [service.parse_rule("development=development", lambda _: cast.development)]
    with pytest.raises(BadDestination):
        service.start(
            actor=cast.principal(cast.alice), source="keeper", settings={"file": str(path)},
            credentials={}, rules=rules,
        )  # fmt: skip
    assert not Migration.objects.filter(state=MigrationState.PLANNING).exists()
