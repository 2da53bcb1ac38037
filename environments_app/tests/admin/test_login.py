"""The doors of Django's admin: they lead to Keeper's own, which limit and record."""

from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import User
from environments_app.tests.cast import PASSWORD, Cast

SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]


def test_the_admin_leads_to_the_sign_in_and_back(cast: Cast, client: Client) -> None:
    page = client.get("/admin/environments_app/user/", follow=True)
    assert page.redirect_chain[-1] == ("/sign-in?next=/admin/environments_app/user/", 302)
    form = {"username": "root", "password": PASSWORD, "next": "/admin/"}
    assert client.post("/sign-in", form).headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_password_is_not_tried_at_the_admin(cast: Cast, client: Client) -> None:
    answer = client.post("/admin/login/", {"username": "root", "password": PASSWORD})
    assert answer.headers["Location"] == "/sign-in?next=/admin/"
    assert "_auth_user_id" not in client.session


def test_it_leads_nobody_out_of_keeper(cast: Cast, client: Client) -> None:
    door = client.get("/admin/login/?next=https://evil.example/").headers["Location"]
    assert door.startswith("/sign-in?")
    assert 'value="https://evil' not in client.get(door).content.decode()


def test_whoever_is_signed_in_is_not_led_in_circles(cast: Cast, signed_in: SignedIn) -> None:
    assert signed_in(cast.alice).get("/admin/", follow=True).status_code == 403
    assert signed_in(cast.root).get("/admin/login/").headers["Location"] == "/admin/"


def test_leaving_by_the_admin_is_recorded(cast: Cast, signed_in: SignedIn, events: Events) -> None:
    browser = signed_in(cast.root)
    assert browser.get("/admin/logout/").status_code == 405
    assert browser.post("/admin/logout/").status_code == 302
    assert "_auth_user_id" not in browser.session
    assert events(Action.SIGN_OUT)[0].actor_name == "root"


@pytest.mark.parametrize("path", ["/admin/password_change/", "/admin/password_change/done/"])
def test_no_password_is_changed_without_a_record(cast: Cast, signed_in: SignedIn, path: str) -> None:
    form = {
        "old_password": PASSWORD,
        "new_password1": "another-long-one",
        "new_password2": "another-long-one",
    }
    browser = signed_in(cast.root)
    assert browser.get(path).status_code == 404
    assert browser.post(path, form).status_code == 404
    assert User.objects.get(pk=cast.root.pk).check_password(PASSWORD)
    assert "password_change" not in browser.get("/admin/").content.decode()
