from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authentication import second_factor
from environments_app.authorization.rows import access_rows
from environments_app.models import User
from environments_app.tests.cast import PASSWORD, Cast, choose_password
from environments_app.users import accounts


def signs_in(client: Client, username: str, password: str) -> bool:
    client.post("/sign-in", {"username": username, "password": password})
    return "_auth_user_id" in client.session


def test_the_last_administrator_gets_in_again(
    cast: Cast, client: Client, capsys: pytest.CaptureFixture[str], events: Callable[..., list[AuditEvent]]
) -> None:
    second_factor.begin(actor=cast.principal(cast.root), user=cast.root)
    cast.root.second_factor = cast.root.second_factors.get().uuid
    cast.root.save()
    call_command("changepassword", "ROOT", "--remove-second-factor")
    out = capsys.readouterr().out
    password = out.strip().rpartition(" ")[2]
    assert not signs_in(client, "root", PASSWORD)
    assert signs_in(client, "root", password)
    told = events(Action.USER_CHANGE)
    assert {(each.actor_kind, each.object_name) for each in told} == {("system", "root")}
    assert password not in str([vars(each) for each in told])
    assert not list(access_rows())


def test_it_ends_a_suspension_and_the_sessions(cast: Cast, client: Client) -> None:
    accounts.set_password(
        actor=cast.principal(cast.root), user=cast.alice, password="another-long-passphrase"
    )
    assert cast.principal(cast.alice).suspended
    client.force_login(User.objects.get(pk=cast.alice.pk))
    call_command("changepassword", "alice")
    # What is printed is temporary as well.
    assert cast.principal(cast.alice).grants == ()
    choose_password(User.objects.get(pk=cast.alice.pk))
    assert cast.principal(cast.alice).grants[0].role == "manager"
    assert client.get("/").status_code == 302
    assert not list(access_rows())


def test_it_refuses_whom_a_password_does_not_help(
    cast: Cast, sql: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    User.objects.create_user("sam", saml_issuer="idp", saml_name_id="sam")
    accounts.disable_user(actor=cast.principal(cast.root), user=cast.vera)
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    for name, words in (
        ("nobody", "no account"),
        ("sam", "Single sign-on"),
        ("vera", "disabled"),
        ("bob", "outside Keeper"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("changepassword", name)
    assert capsys.readouterr().out == ""
