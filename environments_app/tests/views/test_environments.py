"""The pages of environments: who may see and change what, and that a token is shown once."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import Environment, Membership, Role, ServiceToken, User
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
PAGE = "/environments/development"


def test_the_list_of_environments_leads_to_the_tokens(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    assert 'href="/tokens"' in signed_in(cast.alice).get("/environments").content.decode()


def test_it_lists_only_what_one_may_see(cast: Cast, signed_in: SignedIn) -> None:
    link = 'href="/environments/production"'
    assert link in signed_in(cast.alice).get("/environments").content.decode()
    assert link not in signed_in(cast.bob).get("/environments").content.decode()
    assert link in signed_in(cast.root).get("/environments").content.decode()


def test_members_and_tokens_are_for_those_who_manage(cast: Cast, signed_in: SignedIn) -> None:
    assert "/members" in signed_in(cast.alice).get(PAGE).content.decode()
    page = signed_in(cast.bob).get(PAGE)
    assert page.status_code == 200
    assert "/members" not in page.content.decode()
    assert signed_in(cast.charlie).get(PAGE).status_code == 404


def test_it_creates_an_environment_whose_maker_manages_it(cast: Cast, signed_in: SignedIn) -> None:
    form = {"name": "qa", "display_name": "QA", "colour": "teal"}
    assert signed_in(cast.root).post("/environments/new", form).status_code == 302
    created = Environment.objects.get(name="qa")
    assert Membership.objects.get(environment=created).role == Role.MANAGER
    assert signed_in(cast.root).post("/environments/new", form).status_code == 422
    assert signed_in(cast.alice).post("/environments/new", form | {"name": "qb"}).status_code == 403


def test_it_saves_settings(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    form = {"display_name": "Dev", "colour": "pink", "protected": "on"}
    assert signed_in(cast.alice).post(f"{PAGE}/settings", form).status_code == 302
    changed = Environment.objects.get(name="development")
    assert (changed.display_name, changed.colour, changed.protected) == ("Dev", "pink", True)
    assert changed.is_authentic()
    assert signed_in(cast.erin).post(f"{PAGE}/settings", form).status_code == 403


def test_a_bad_key_stands_on_the_form_with_what_was_entered(cast: Cast, signed_in: SignedIn) -> None:
    form = {"display_name": "Typed", "colour": "pink", "kms_key_alias": "not a key"}
    page = signed_in(cast.alice).post(f"{PAGE}/settings", form)
    assert page.status_code == 422
    assert "Typed" in page.content.decode()


def test_it_grants_and_revokes(cast: Cast, signed_in: SignedIn) -> None:
    manager = signed_in(cast.alice)
    form = {"username": "Charlie", "role": "reader", "prefix": "payments"}
    page = manager.post(f"{PAGE}/members", form, follow=True)
    assert "Access granted: charlie, Reader in development." in page.content.decode()
    membership = Membership.objects.get(user=cast.charlie)
    assert (membership.role, membership.prefix) == ("reader", "payments")
    assert signed_in(cast.charlie).get(PAGE).status_code == 200
    assert manager.post(f"{PAGE}/members/{membership.pk}/revoke").status_code == 302
    assert signed_in(cast.charlie).get(PAGE).status_code == 404


def test_an_unknown_person_stands_on_the_form(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.alice).post(f"{PAGE}/members", {"username": "nobody", "role": "reader"})
    assert page.status_code == 422
    said = page.content.decode()
    assert "User or group not found. An administrator invites people. Ask an administrator: root." in said
    # It is said before the form is filled as well.
    assert "Ask an administrator: root." in signed_in(cast.alice).get(PAGE).content.decode()
    assert "Ask an administrator" not in signed_in(cast.root).get(PAGE).content.decode()
    page = signed_in(cast.root).post(f"{PAGE}/members", {"username": "nobody", "role": "viewer"})
    assert 'href="/people?invite_to=development"' in page.content.decode()


def test_an_address_names_a_person_to_who_sees_it_anyway_and_a_disabled_account_warns(
    cast: Cast, signed_in: SignedIn
) -> None:
    User.objects.filter(pk=cast.charlie.pk).update(email="Charlie@example.com", is_active=False)
    form = {"username": "charlie@example.com", "role": "viewer"}
    assert signed_in(cast.alice).post(f"{PAGE}/members", form).status_code == 422
    page = signed_in(cast.root).post(f"{PAGE}/members", form, follow=True).content.decode()
    assert "Access granted: charlie, Viewer in development." in page
    assert "The account charlie is disabled" in page


def test_temporary_access_takes_a_duration_or_a_time(cast: Cast, signed_in: SignedIn) -> None:
    manager, form = signed_in(cast.alice), {"username": "charlie", "role": "reader", "minutes": "1440"}
    both = manager.post(f"{PAGE}/members", {**form, "expires_at": "2100-01-01T00:00"})
    assert (both.status_code, "not both" in both.content.decode()) == (422, True)
    before = timezone.now()
    assert manager.post(f"{PAGE}/members", form).status_code == 302
    ends = Membership.objects.get(user=cast.charlie).expires_at
    assert ends is not None
    assert before + timedelta(days=1) <= ends <= timezone.now() + timedelta(days=1)
    assert manager.post(f"{PAGE}/members", {**form, "minutes": "7"}).status_code == 422


def test_one_field_takes_a_person_or_a_group_and_never_guesses(cast: Cast, signed_in: SignedIn) -> None:
    manager = signed_in(cast.alice)
    for name in ("ops", "charlie"):
        Group.objects.create(name=name)
    granted = manager.post(f"{PAGE}/members", {"username": "ops", "role": "reader"}, follow=True)
    assert "Access granted: ops, Reader in development." in granted.content.decode()
    both = manager.post(f"{PAGE}/members", {"username": "charlie", "role": "reader"})
    assert "A person and a group are named charlie." in both.content.decode()
    assert not Membership.objects.filter(user=cast.charlie).exists()
    manager.post(f"{PAGE}/members", {"username": "group:charlie", "role": "reader"})
    assert Membership.objects.filter(group__name="charlie").exists()
    manager.post(f"{PAGE}/members", {"username": "person:charlie", "role": "reader"})
    assert Membership.objects.filter(user=cast.charlie).exists()
    for nothing in ("group:", "person:", "group:nobody", "person:ops"):
        refused = manager.post(f"{PAGE}/members", {"username": nothing, "role": "reader"})
        assert refused.status_code == 422, nothing


def test_a_manager_is_suggested_members_they_see_and_nobody_else(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.alice).get(PAGE).content.decode()
    assert '<option value="bob">' in page
    assert '<option value="charlie">' not in page
    assert '<option value="charlie">' in signed_in(cast.root).get(PAGE).content.decode()


@pytest.mark.parametrize("given", [{"username": "charlie"}, {"username": "nobody"}, {"group": "payroll"}, {}])
def test_who_manages_no_members_learns_no_names(
    cast: Cast, signed_in: SignedIn, events: Callable[..., list[AuditEvent]], given: dict[str, str]
) -> None:
    answer = signed_in(cast.vera).post("/environments/development/members", {"role": "reader", **given})
    assert answer.status_code == 403
    assert "There is no such" not in answer.content.decode()
    (denied,) = events(Action.MEMBER_GRANT, outcome="denied")
    assert denied.actor_name == "vera"


def test_the_last_manager_stays(cast: Cast, signed_in: SignedIn) -> None:
    own = Membership.objects.get(user=cast.alice, environment=cast.development)
    page = signed_in(cast.alice).post(f"{PAGE}/members/{own.pk}/revoke", follow=True)
    assert Membership.objects.filter(pk=own.pk).exists()
    assert "manager" in page.content.decode()


def test_the_list_of_tokens_leads_to_where_one_is_issued(cast: Cast, signed_in: SignedIn) -> None:
    link = f'href="{PAGE}#tokens"'
    assert link in signed_in(cast.alice).get("/tokens").content.decode()
    assert link in signed_in(cast.alice).get("/tokens?environment=development").content.decode()
    assert "Issue a token" not in signed_in(cast.alice).get("/tokens?environment=nowhere").content.decode()
    assert "Issue a token" not in signed_in(cast.erin).get("/tokens").content.decode()


def test_a_token_is_shown_once(cast: Cast, signed_in: SignedIn) -> None:
    manager = signed_in(cast.alice)
    form = {"name": "deploy", "role": "reader", "cidrs": "10.0.0.0/8, 192.0.2.0/24"}
    page = manager.post(f"{PAGE}/tokens", form)
    found = re.search(r"kpr_[\w-]{22}_[\w-]{43}", page.content.decode())
    assert found is not None
    assert found.group() not in manager.get(PAGE).content.decode()
    token = ServiceToken.objects.get(name="deploy")
    assert token.cidrs == ["10.0.0.0/8", "192.0.2.0/24"]
    manager.post(f"{PAGE}/tokens/{token.pk}/revoke")
    assert Client(headers={"authorization": f"Bearer {found.group()}"}).get("/api/secrets").status_code == 401
    assert signed_in(cast.erin).post(f"{PAGE}/tokens", form).status_code == 403


def test_a_reader_is_told_their_role_and_who_manages(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.bob).get(PAGE).content.decode()
    assert "Your role: <b>Reader</b>. Managers: alice." in page
    ends = timezone.now() + timedelta(hours=2)
    membership = Membership.objects.get(user=cast.bob)
    membership.expires_at = ends
    membership.save()
    assert "(ends <time" in signed_in(cast.bob).get(PAGE).content.decode()
    assert "Your role" not in signed_in(cast.alice).get(PAGE).content.decode()


@pytest.mark.parametrize(("name", "colour"), [("prod-eu", "red"), ("qa", "blue"), ("qa-2", "teal")])
def test_a_new_environment_gets_a_colour_that_no_other_has(
    cast: Cast, signed_in: SignedIn, name: str, colour: str
) -> None:
    root = signed_in(cast.root)
    if name == "qa-2":
        root.post("/environments/new", {"name": "qa", "colour": ""})
    assert root.post("/environments/new", {"name": name, "colour": ""}).status_code == 302
    assert Environment.objects.get(name=name).colour == colour
