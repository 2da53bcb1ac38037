"""`keeper migrate-from` on a real OpenBao."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from sync_app.models import SourceCredentials
from sync_app.tests.migration.test_vault import OldVault, old

__all__ = ["old"]


def run(*arguments: str) -> tuple[int, Any]:
    out = StringIO()
    code = 0
    try:
        call_command("migrate_from", *arguments, "--format", "json", stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, json.loads(out.getvalue())


def test_it_plans_applies_and_shows(cast: Cast, old: OldVault, tmp_path: Path) -> None:
    old.put("dev/db", {"value": "one"}, {"value": "two"})
    token = tmp_path / "token"
    token.write_text(f"{old.token}\n", encoding="utf-8")
    start = ("vault", old.url, "--token-file", str(token), "--rule", f"{old.kv}=first-folder:dev=development")
    code, report = run(*start)
    assert (code, report["state"], report["counts"]["words"]) == (0, "planned", {"new": 1})
    assert not Secret.objects.exists()
    number = str(report["migration"])
    code, report = run("apply", number)
    assert (code, report["state"], report["counts"]["states"]) == (0, "done", {"carried": 1})
    secret = Secret.objects.get(name="db")
    assert secret.current_number == 2
    event = AuditEvent.objects.get(action=Action.SECRET_MIGRATE)
    assert event.actor_kind == ActorKind.SYSTEM
    write.update(actor=cast.principal(cast.alice), secret=secret, value="Keeper's")
    old.put("dev/db", {"value": "three"})
    code, report = run(*start, "--apply")
    assert (code, report["lines"][0]["word"]) == (3, "changed on both sides")
    assert Secret.objects.get(name="db").current_number == 3
    code, report = run(*start)
    code, report = run("apply", str(report["migration"]), "--take-source")
    assert (code, report["counts"]["states"]) == (0, {"carried": 1})
    assert Secret.objects.get(name="db").current_number == 4
    code, found = run("status")
    assert (code, len(found)) == (0, 3)
    assert not SourceCredentials.objects.exists()
    with pytest.raises(CommandError):
        run("plan", number)
    assert old.token not in json.dumps(found)


def test_the_fields_of_a_secret_become_secrets(cast: Cast, old: OldVault, tmp_path: Path) -> None:
    old.put("db", {"user": "a", "pass": "b"})
    token = tmp_path / "token"
    token.write_text(old.token, encoding="utf-8")
    start = ("vault", old.url, "--token-file", str(token), "--rule", f"{old.kv}=development")
    code, report = run(*start, "--fields", "each", "--apply")
    assert (code, report["counts"]["states"], report["mounts"]) == (0, {"carried": 2}, [])
    assert {each.name for each in Secret.objects.all()} == {"db/user", "db/pass"}
    with pytest.raises(CommandError, match="invalid choice"):
        run(*start, "--fields", "some")


def test_what_cannot_be_is_an_error(cast: Cast, old: OldVault) -> None:
    with pytest.raises(CommandError, match="environment"):
        run("vault", old.url, "--token-file", "/dev/null", "--rule", "secret=nowhere")
    with pytest.raises(CommandError, match="token"):
        run("vault", old.url, "--token-file", "/dev/null", "--rule", "secret=development")
    with pytest.raises(CommandError):
        run("stop", "9999")
