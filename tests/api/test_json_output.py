"""`--format json` of every command prints one JSON document on standard output, and nothing beside it."""

import contextlib
import json
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command, load_command_class
from pytest_django import Settings

from environments_app.tests.cast import Cast, make_cast
from secrets_app.tests.kept import keep
from secrets_app.tests.key_operations.migration.test_migrate_to_kms import both, moved
from secrets_app.tests.keys.conftest import fresh_process, kms_client
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.tests.making import made
from tests.code.test_commands import COMMANDS
from tests.servers.fixtures import moto_url, openbao

__all__ = ["both", "fresh_process", "kms_client", "moto_url", "openbao"]
Arguments = Callable[[Path], list[str]]

SAYING: dict[str, list[str]] = {
    "access": ["--environment", "development"],
    "activate": ["--yes"],
    "alerts": [],
    "audit_prune": ["--bundles"],
    "audit_search": [],
    "audit_usage": [],
    "approvals list": [],
    "backup list": [],
    "checkpoint": [],
    "environments delete": ["development"],
    "environments list": [],
    "events": [],
    "issue_token": ["--role", "admin", "--name", "ops"],
    "release": [],
    "settings": [],
    "tokens list": [],
    "users disable": ["bob"],
    "users enable": ["bob"],
    "users list": [],
    "users unlock": ["bob"],
    "compliance_report": [],
    "kms key-info": [],
    "status": [],
    "check_upgrade": [],
    "kms rotate": [],
    "kms test-connection": [],
    "migrate_from status": [],
    "migrate_to_kms": [],
    "rotate": ["--due"],
    "sync adopt": ["development", "vault", "payments/db"],
    "sync apply": ["development", "vault"],
    "sync check": ["development", "vault"],
    "sync default-targets": [],
    "sync plan": ["development", "vault"],
    "sync status": [],
    "verify_audit": [],
}
# These take a file, standard input or a row, which a fixture or a test makes: below, or of the command.
WITH_FILE = {
    "approvals approve", "approvals reject", "audit_export", "backup", "backup verify", "environments purge",
    "environments restore", "evidence_pack", "export_all dotenv", "export_all json", "export_all vault",
    "export_all verify", "fetch_trust_keys", "issue_trust", "restore", "tokens revoke",
    "import_fernet", "rollback_kms", "tokens find", "migrate_from vault", "migrate_from aws",
    "migrate_from ssm", "migrate_from kubernetes", "migrate_from keeper-live", "migrate_from keeper",
    "migrate_from plan", "migrate_from apply", "migrate_from stop",
}  # fmt: skip


def _formats(parser: ArgumentParser) -> list[str]:
    return [name for each in parser._actions if each.dest == "format" for name in each.choices or ()]


def _takes_json(app: str, name: str) -> Iterator[str]:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    if "json" in _formats(parser):
        yield name
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            yield from (f"{name} {each}" for each, sub in action.choices.items() if "json" in _formats(sub))


def test_every_command_that_takes_the_option_is_here() -> None:
    taking = {each for app, name in COMMANDS for each in _takes_json(app, name)}
    assert taking == SAYING.keys() | WITH_FILE


def document(capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> Any:
    """Run a command and parse all that it printed as one document."""
    # What failed or waits exits with another code than 0, and is in the document as well.
    with contextlib.suppress(SystemExit):
        call_command(*command.split(), *arguments, "--format", "json", stderr=StringIO())
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def cast(both: str, settings: Settings) -> Cast:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    cast = make_cast()
    keep(cast, "kept")
    return cast


@pytest.mark.parametrize("command", SAYING)
def test_it_prints_one_document(
    cast: Cast, openbao: tuple[str, str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    made(cast, VaultWorld(*openbao), name="vault")
    capsys.readouterr()
    assert isinstance(document(capsys, command, *SAYING[command]), dict | list)


def test_importing_tokens_prints_one_document(
    cast: Cast, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Fernet.generate_key()
    settings.LEGACY_FERNET_KEYS = [key.decode()]
    tokens = {"legacy/one": Fernet(key).encrypt(b"one").decode(), "legacy/two": "no token"}
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    told = document(capsys, "import_fernet", str(tmp_path / "tokens.json"), "--environment", "development")
    assert {each["name"]: each["ok"] for each in told} == {"legacy/one": True, "legacy/two": False}


@pytest.mark.parametrize("command", ["audit_export", "evidence_pack"])
def test_a_file_that_is_written_is_named(
    cast: Cast, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = tmp_path / "made"
    assert document(capsys, command, str(path)) == {"file": str(path)}
    assert path.stat().st_size


def test_rolling_a_migration_back_prints_one_document(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    backup = moved()["(system)"].backup
    assert document(capsys, "rollback_kms", backup)["ok"] is True


def test_a_key_that_wraps_nothing_is_named_and_the_exit_code_is_1(
    cast: Cast, kms_client: Any, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.KEY_MANAGEMENT_BACKEND = "kms"
    unused = kms_client.create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(CommandError, match="wraps no data key: nothing was rotated") as refused:
        call_command("kms", "rotate", "--key-id", unused)
    assert refused.value.returncode == 1
    assert unused in str(refused.value)
