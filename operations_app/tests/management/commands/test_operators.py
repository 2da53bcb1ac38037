"""The commands by which an operator looks at an installation and acts on it from the host."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from environments_app.approvals.service import reject_from_host
from environments_app.authorization.principals import system_principal
from environments_app.environments.memberships import grant
from environments_app.environments.service import update_environment
from environments_app.errors import ApprovalNeeded, BadToken, Forbidden
from environments_app.models import Alert, Approval, PersonalToken, User
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from operations_app.backup.create import back_up, default_path
from secrets_app.tests.kept import keep

OPERATOR = system_principal(is_admin=True)


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def rows(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "--format", "json"))
    return found


@pytest.mark.django_db
def test_tokens_are_listed_and_those_that_ended_only_when_asked_for(cast: Cast) -> None:
    token, _ = issue(actor=OPERATOR, environment=cast.development, role="reader", name="build")
    issue_personal(actor=cast.principal(cast.bob), name="laptop")
    listed = {each["name"]: each for each in rows("tokens", "list")}
    assert (
        listed["build"] | {"kind": "service", "environment": "development", "role": "reader"}
        == listed["build"]
    )
    assert listed["laptop"] | {"kind": "personal", "person": "bob", "live": True} == listed["laptop"]
    run("tokens", "revoke", str(token.uuid))
    assert [each["name"] for each in rows("tokens", "list")] == ["laptop"]
    (ended,) = (each for each in rows("tokens", "list", "--all") if each["name"] == "build")
    assert ended["live"] is False
    assert ended["revoked_at"]
    assert rows("tokens", "list", "--environment", "production") == []


@pytest.mark.django_db
def test_a_revoked_token_opens_nothing_and_the_act_is_recorded(cast: Cast) -> None:
    token, text = issue(actor=OPERATOR, environment=cast.development, role="reader", name="build")
    run("tokens", "revoke", str(token.uuid))
    with pytest.raises(BadToken):
        authenticate(text, address="192.0.2.1")
    assert AuditEvent.objects.filter(action=Action.TOKEN_REVOKE, object_uuid=token.uuid).count() == 1
    personal, _ = issue_personal(actor=cast.principal(cast.bob), name="laptop")
    run("tokens", "revoke", str(personal.uuid))
    assert PersonalToken.objects.get().revoked_at
    with pytest.raises(CommandError, match="no token of this uuid"):
        run("tokens", "revoke", "00000000-0000-4000-8000-000000000000")


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["service", "personal"])
def test_whose_a_token_is_that_somebody_found(cast: Cast, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "service":
        token, text = issue(actor=OPERATOR, environment=cast.development, role="reader", name="build")
    else:
        token, text = issue_personal(actor=cast.principal(cast.bob), name="build")  # type: ignore[assignment]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
    shown = run("tokens", "find")
    assert str(token.uuid) in shown
    assert text[30:] not in shown
    type(token).objects.get(pk=token.pk, last_used_at=None)
    # Another secret under its id is nobody's token.
    monkeypatch.setattr("sys.stdin", io.StringIO(text[:-4] + "AAAA"))
    with pytest.raises(CommandError, match="no such token"):
        run("tokens", "find")
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2"))
    with pytest.raises(CommandError, match="no token of Keeper") as caught:
        run("tokens", "find")
    assert "hunter2" not in str(caught.value)


@pytest.mark.django_db
def test_accounts_are_listed_disabled_enabled_and_unlocked(cast: Cast) -> None:
    listed = {each["username"]: each for each in rows("users", "list")}
    assert listed.keys() >= {"alice", "root"}
    assert listed["root"] | {"role": "admin", "active": True, "locked": False} == listed["root"]
    assert run("users", "disable", "BOB") == "bob is disabled."
    assert not User.objects.get(username="bob").is_active
    assert run("users", "enable", "bob") == "bob is enabled."
    assert User.objects.get(username="bob").is_active
    assert run("users", "unlock", "alice") == "alice is unlocked."
    assert AuditEvent.objects.filter(action=Action.USER_CHANGE, object_name="alice").exists()
    with pytest.raises(CommandError, match="no account of this name: see `keeper users list`"):
        run("users", "disable", "nobody")
    # The last administrator stays.
    with pytest.raises(CommandError, match="administrator"):
        run("users", "disable", "root")


@pytest.mark.django_db
def test_who_has_access_to_an_environment(cast: Cast) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.production, user=cast.bob, role="reader")
    issue(actor=OPERATOR, environment=cast.production, role="reader", name="deploy")
    make_trust(cast, Issuer())
    for options in ([], ["--as-of", f"{timezone.now():%Y-%m-%d}"]):
        found = {
            (each["kind"], each["who"]): each
            for each in rows("access", "--environment", "production", *options)
        }
        assert {("person", "alice"), ("person", "bob"), ("token", "deploy"), ("trust", "ci")} <= {*found}
        bob = found["person", "bob"]
        assert (bob["role"], bob["granted_by"], bob["reads"], bob["hindrances"]) == (
            "reader", "alice", True, [],
        )  # fmt: skip
        # An administrator sees names alone, and the list says so.
        assert not found["person", "root"]["reads"]
    assert {each["who"] for each in rows("access", "--environment", "development")} >= {"erin", "vera"}
    assert "ROLE" in run("access", "--environment", "development")
    with pytest.raises(CommandError):
        run("access", "--environment", "nowhere")
    with pytest.raises(CommandError):
        run("access", "--environment", "nowhere", "--as-of", "2026-11-01")


@pytest.mark.django_db
def test_events_are_found_by_object_actor_time_and_outcome(cast: Cast) -> None:
    keep(cast, "payments/key")
    (created,) = rows("events", "--object", "payments/key", "--outcome", "allowed")
    assert (created["actor"], created["action"]) == ("alice", "secret.create")
    assert rows("events", "--object", "payments/key", "--since", "2999-01-01") == []
    assert len(rows("events", "--object", "payments/key", "--since", "1h")) == 1
    with pytest.raises(CommandError, match="give 2026-11-30, 2026-11-30T14:00 in UTC, 90m, 24h or 7d"):
        rows("events", "--since", "yesterday")
    assert rows("events", "--actor", "nobody") == []
    assert len(rows("events", "--limit", "1")) == 1
    # To read the audit log is an event itself.
    assert AuditEvent.objects.filter(action=Action.TRAIL_VIEW, outcome=Outcome.ALLOWED).exists()


@pytest.mark.django_db
def test_open_alerts_are_listed(cast: Cast) -> None:
    assert run("alerts") == "No open alerts."
    Alert.objects.create(
        kind="late", about=cast.development.uuid, environment=cast.development, subject="It is late"
    )
    Alert.objects.create(
        kind="over", about=cast.development.uuid, subject="It was", open=None, closed_at=timezone.now()
    )
    assert [each["subject"] for each in rows("alerts")] == ["It is late"]
    assert [each["subject"] for each in rows("alerts", "--all")] == ["It is late", "It was"]


def test_settings_show_no_secret(settings: Settings) -> None:
    shown = run("settings")
    assert "SESSION_COOKIE_AGE" in shown
    assert settings.SECRET_KEY not in shown
    assert {each["name"] for each in rows("settings", "backup")} >= {"KEEPER_BACKUP_DIR"}
    assert all(each["from"] != "default" for each in rows("settings", "--changed"))


@pytest.mark.django_db
def test_backups_are_listed(cast: Cast, settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_BACKUP_DIR = tmp_path
    assert run("backup", "list") == "There is no backup in KEEPER_BACKUP_DIR."
    made = back_up(actor=OPERATOR, path=default_path())
    (listed,) = rows("backup", "list")
    assert (listed["name"], listed["bytes"], listed["verified_at"]) == (made.path.name, made.size, None)
    with pytest.raises(CommandError):
        run("backup", "verify", "keeper-none.kbk")


@pytest.mark.django_db
def test_an_operator_rejects_a_request_from_the_host(cast: Cast) -> None:
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        update_environment(actor=cast.principal(cast.root), environment=cast.production, protected=False)
    (listed,) = rows("approvals", "list")
    assert (listed["id"], listed["approvers"]) == (raised.value.approval, ["alice"])
    assert run("approvals", "reject", str(listed["id"]), "--reason", "not now").endswith("is rejected.")
    approval = Approval.objects.get(pk=listed["id"])
    assert (approval.state, approval.comment, approval.decided_by_name) == ("refused", "not now", "system")
    assert AuditEvent.objects.filter(action=Action.APPROVAL_DECIDE, object_uuid=approval.uuid).count() == 1
    with pytest.raises(CommandError):
        run("approvals", "reject", str(approval.pk), "--reason", "again")
    with pytest.raises(Forbidden, match="host"):
        reject_from_host(actor=cast.principal(cast.root), approval=approval, reason="by the page")


@pytest.mark.django_db
def test_programs_read_what_an_act_did(cast: Cast) -> None:
    def told(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--format", "json"))

    token, _ = issue(actor=OPERATOR, environment=cast.development, role="reader", name="build")
    assert told("tokens", "revoke", str(token.uuid)) == {"revoked": str(token.uuid)}
    for act, active in (("disable", False), ("enable", True), ("unlock", True)):
        (account,) = told("users", act, "bob")
        assert (account["username"], account["active"], account["locked"]) == ("bob", active, False)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded):
        update_environment(actor=cast.principal(cast.root), environment=cast.production, protected=False)
    asked = Approval.objects.get()
    done = told("approvals", "reject", str(asked.pk), "--reason", "no")
    assert done == {"id": asked.pk, "state": "refused"}
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("environments", "delete", "development", "--format", "json", stdout=out)
    planned = json.loads(out.getvalue())
    assert (ended.value.code, planned["name"], planned["done"]) == (1, "development", False)
    assert planned["contents"]["memberships"] > 0
    assert told("environments", "delete", "development", "--yes") == {"name": "development", "done": True}
    assert told("environments", "restore", "development") == {"name": "development", "done": True}


def test_the_help_of_a_command_has_no_options_but_its_own() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "keeper_project.runtime.cli", "tokens", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "revoke" in shown
    assert "--pythonpath" not in shown
