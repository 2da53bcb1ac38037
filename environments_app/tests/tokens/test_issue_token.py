import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.authentication import authenticate


def test_it_prints_the_token_alone(
    cast: Cast, capsys: pytest.CaptureFixture[str], events: Callable[..., list[AuditEvent]]
) -> None:
    call_command("issue_token", "--environment", "development", "--role", "editor", "--name", "ci")
    captured = capsys.readouterr()
    text = captured.out.removesuffix("\n")
    assert captured.err == ""
    principal = authenticate(text, address="127.0.0.1")
    assert [(grant.environment_name, grant.role) for grant in principal.grants] == [("development", "editor")]
    (event,) = events(Action.TOKEN_ISSUE)
    assert (event.actor_kind, event.object_name) == ("system", "ci")
    assert text[-43:] not in str(vars(event))


def test_no_command_takes_its_id_for_an_option(
    cast: Cast, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tokens revoke -id` and `bao token lookup -accessor -id` would not do."""
    drawn = iter(["s" * 43, "-" + "i" * 21, "i" * 22])
    monkeypatch.setattr("environments_app.tokens.peppers.secrets.token_urlsafe", lambda size: next(drawn))
    call_command("issue_token", "--environment", "development", "--role", "editor", "--name", "ci")
    assert ServiceToken.objects.get().public_id == "i" * 22


def test_it_takes_prefix_expiry_and_networks(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    call_command(
        "issue_token", "--environment", "development", "--role", "reader", "--name", "ci",
        "--prefix", "pay", "--expires-in", "90d", "--cidr", "10.0.0.0/8", "--cidr", "192.0.2.1",
    )  # fmt: skip
    token = ServiceToken.objects.get()
    assert (token.prefix, token.cidrs) == ("pay", ["10.0.0.0/8", "192.0.2.1/32"])
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=1)


def test_an_admin_token_has_no_environment(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("issue_token", "--role", "admin", "--name", "ops")
    assert authenticate(capsys.readouterr().out.strip(), address="").is_admin


@pytest.mark.parametrize(
    "options",
    [
        ["--role", "admin", "--environment", "development"],
        ["--role", "editor"],
        ["--role", "editor", "--environment", "nowhere"],
        ["--role", "king", "--environment", "development"],
        ["--role", "editor", "--environment", "development", "--expires-in", "soon"],
        ["--role", "editor", "--environment", "development", "--expires-in", "0d"],
        ["--role", "editor", "--environment", "development", "--cidr", "x"],
        ["--role", "editor", "--environment", "development", "--prefix", "a//b"],
    ],
)
def test_it_refuses_what_makes_no_token(
    cast: Cast, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(CommandError):
        call_command("issue_token", "--name", "ci", *options)
    assert capsys.readouterr().out == ""
    assert not ServiceToken.objects.exists()


def test_programs_read_the_token_with_what_it_is(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("issue_token", "--role", "admin", "--name", "ops", "--expires-in", "90d", "--format", "json")
    issued = json.loads(capsys.readouterr().out)
    token = ServiceToken.objects.get()
    assert (issued["uuid"], issued["name"]) == (str(token.uuid), "ops")
    assert datetime.fromisoformat(issued["expires_at"]) == token.expires_at
    assert authenticate(issued["token"], address="").is_admin
