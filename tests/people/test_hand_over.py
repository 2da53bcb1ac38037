"""An administrator hands an account over to a SCIM client: what it is then, and what happens meanwhile."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.acts import HandOverForm
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.errors import (
    Conflict,
    Forbidden,
    InvalidField,
    NameInUse,
    SignOnRefused,
)
from environments_app.models import Membership, PersonalToken, ProvisionedUser, ScimClient, Session, User
from environments_app.single_sign_on import connected
from environments_app.single_sign_on.account_binding import subject_user
from environments_app.single_sign_on.connected import Offer
from environments_app.tests.cast import PASSWORD, Cast, user_with_password
from environments_app.tokens import scim_clients
from environments_app.tokens.personal import issue_personal
from environments_app.users import accounts, handing_over, password_links, suspensions
from gateway_app.scim.schema import USER
from secrets_app.departures.ending import end_person
from secrets_app.services.share import share_once
from secrets_app.tests.kept import keep
from tests.people.test_scim import Scim, vouched

pytestmark = pytest.mark.django_db

Events = Callable[..., list[AuditEvent]]
NAME, ID = "bob@example.com", "00u-bob"
BEA = "bea@example.com"


@pytest.fixture
def scim(cast: Cast) -> Scim:
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:okta": "Okta"}):
        return Scim(cast, issuer="oidc:okta")


def hand_over(cast: Cast, scim: Scim, user: User | None = None, **more: Any) -> ProvisionedUser:
    options = {"external_id": ID, "user_name": NAME, "client": scim.row, **more}
    return handing_over.hand_over(actor=user_principal(cast.root).proven(), user=user or cast.bob, **options)


def signed_in(cast: Cast) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=cast.bob.pk))
    return client


def come(subject: str = ID) -> User:
    return subject_user(vouched(subject), actor=system_principal(is_admin=True))


@pytest.mark.every_database
def test_an_account_is_handed_over_in_the_admin(cast: Cast, scim: Scim, events: Events) -> None:
    browser = signed_in(cast)
    issue_personal(actor=user_principal(cast.bob).proven(), name="laptop")
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    path = reverse("admin:environments_app_user_object_act", args=[cast.bob.pk, "hand_over"])
    page = root.get(path)
    assert page.status_code == 200, page["Location"]
    assert b"this is a break-glass act" in page.content
    form = {"client": scim.row.pk, "external_id": ID, "user_name": NAME}
    assert root.post(path, form).status_code == 302

    row = ProvisionedUser.objects.get()
    assert (row.user, row.external_id, row.user_name, row.revision) == (cast.bob, ID, NAME, 0)
    user = User.objects.get(pk=cast.bob.pk)
    assert user.suspended_at
    assert browser.get("/profile").status_code == 302
    assert not PersonalToken.objects.filter(user=user, revoked_at=None).exists()
    [told] = events(Action.USER_PROVISION)
    assert told.actor_name == "root"
    assert "development" in {
        json.loads(event.details)["environment"] for event in events(Action.ACCESS_SUSPEND)
    }
    assert not [*run_checks()]
    # The client sees it, changes it, and ends it.
    assert scim.listed(f'?filter=userName eq "{NAME}"') == [NAME]
    assert (
        scim.patch(str(row.uuid), {"op": "replace", "path": "displayName", "value": "Bob B"}).status_code
        == 200
    )
    user.refresh_from_db()
    assert (user.display_name, user.email) == ("Bob B", cast.bob.email)
    assert scim.activate(str(row.uuid), False).status_code == 200
    user.refresh_from_db()
    assert not user.is_active
    assert not [*run_checks()]


def test_a_client_that_creates_the_person_gets_this_account(cast: Cast, scim: Scim) -> None:
    row = hand_over(cast, scim)
    assert scim.create("other@example.com", externalId="00u-x").status_code == 201
    assert scim.create(NAME, externalId="00u-y").status_code == 409
    answer = scim.create("robert@example.com", externalId=ID, displayName="Robert")
    assert (answer.status_code, answer.json()["id"]) == (201, str(row.uuid))
    assert answer.json()["active"] is True
    user = User.objects.get(pk=cast.bob.pk)
    assert (user.username, user.display_name) == ("bob", "Robert")
    # Once: the second one is another person.
    assert scim.create("robert@example.com", externalId=ID).status_code == 409
    assert not [*run_checks()]


def test_the_subject_signs_in_and_the_password_ends(cast: Cast, scim: Scim) -> None:
    hand_over(cast, scim)
    with pytest.raises(SignOnRefused):
        come("00u-other")
    browser = signed_in(cast)
    issue_personal(actor=user_principal(cast.bob).proven(), name="laptop")
    assert come() == cast.bob
    user = User.objects.get(pk=cast.bob.pk)
    assert user.saml_name_id == ID
    assert not user.has_usable_password()
    assert user.suspended_at
    assert not Session.objects.filter(user=user).exists()
    assert browser.get("/profile").status_code == 302
    assert not PersonalToken.objects.filter(user=user, revoked_at=None).exists()


def test_who_signs_in_there_already_is_not_suspended(cast: Cast, scim: Scim) -> None:
    user = User.objects.get(pk=cast.bob.pk)
    user.saml_issuer, user.saml_name_id = "oidc:okta", "sub-of-bob"
    user.save()
    with pytest.raises(Conflict, match="signs in as sub-of-bob"):
        hand_over(cast, scim, user)
    hand_over(cast, scim, user, external_id="sub-of-bob")
    user.refresh_from_db()
    assert user.suspended_at is None
    assert come("sub-of-bob") == user


def test_who_signed_in_there_before_the_account_ended_signs_in_no_more_by_another_external_id(
    cast: Cast, scim: Scim
) -> None:
    user = User.objects.get(pk=cast.bob.pk)
    user.saml_issuer, user.saml_name_id, user.is_active = "oidc:okta", "sub-of-bob", False
    user.save()
    row = hand_over(cast, scim, user)
    user.refresh_from_db()
    assert (user.saml_name_id, user.suspended_at is None) == (None, False)
    accounts.update_user(actor=user_principal(cast.root).proven(), user=user, is_active=True)
    with pytest.raises(SignOnRefused):
        come("sub-of-bob")
    assert come(row.external_id) == user


def test_a_subject_that_is_not_compared_goes_on_until_the_account_is_handed_over_again(
    cast: Cast, scim: Scim
) -> None:
    """Entra's subject is never the external ID, so that a wrong one cannot be told from a right one."""
    scim.row.preset = "entra"
    scim.row.save()
    user = User.objects.get(pk=cast.bob.pk)
    user.saml_issuer, user.saml_name_id = "oidc:okta", "sub-of-bob"
    user.save()
    hand_over(cast, scim, user, external_id="wrong")
    assert come("sub-of-bob") == user
    end_person(actor=user_principal(cast.root).proven(), user=User.objects.get(pk=user.pk))
    hand_over(cast, scim, User.objects.get(pk=user.pk), external_id="right")
    assert User.objects.get(pk=user.pk).saml_name_id is None


def test_what_is_refused(cast: Cast, scim: Scim) -> None:
    for text in ("", " ", "a\nb", "x" * 256):
        for field in ("external_id", "user_name"):
            with pytest.raises(InvalidField):
                hand_over(cast, scim, None, **{field: text})
    with pytest.raises(Conflict, match="own account"):
        hand_over(cast, scim, cast.root)
    elsewhere = User.objects.get(pk=cast.charlie.pk)
    elsewhere.saml_issuer, elsewhere.saml_name_id = "oidc:other", "c"
    elsewhere.save()
    with pytest.raises(Conflict, match="another identity provider"):
        hand_over(cast, scim, elsewhere)
    hand_over(cast, scim)
    with pytest.raises(Conflict, match="already"):
        hand_over(cast, scim, external_id="2", user_name="2")
    for taken in ({"external_id": "2"}, {"user_name": "two"}):
        with pytest.raises(NameInUse):
            hand_over(cast, scim, cast.alice, **taken)
    with pytest.raises(Forbidden):
        handing_over.hand_over(
            actor=cast.principal(cast.alice).proven(),
            user=cast.erin,
            client=scim.row,
            external_id="3",
            user_name="c",
        )
    assert ProvisionedUser.objects.count() == 1


@pytest.mark.parametrize("what", ["client removed", "bound elsewhere", "handed over"])
def test_what_happens_meanwhile_counts(cast: Cast, scim: Scim, what: str) -> None:
    """The form was shown before."""
    user, client = User.objects.get(pk=cast.bob.pk), scim.row
    if what == "client removed":
        scim_clients.remove_client(actor=scim.root, client=ScimClient.objects.get(pk=client.pk))
    elif what == "bound elsewhere":
        stored = User.objects.get(pk=cast.bob.pk)
        stored.saml_issuer, stored.saml_name_id = "oidc:other", "b"
        stored.save()
    else:
        hand_over(cast, Scim(cast, name="Two"), external_id="9", user_name="nine")
    with pytest.raises(Conflict):
        hand_over(cast, scim, user, client=client)
    assert not ProvisionedUser.objects.filter(client=client).exists()


def test_the_client_binds_nobody_else_to_what_an_administrator_bound(
    cast: Cast, scim: Scim, events: Events
) -> None:
    """A person without any access is taken no more than another."""
    lone = user_with_password("lone")
    row = hand_over(cast, scim, lone)
    renamed = {"op": "replace", "path": "externalId", "value": "mallory"}
    answer = scim.patch(str(row.uuid), renamed)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
    assert events(Action.USER_PROVISION)[-1].outcome == "denied"
    # Nor once it has deleted and created the person.
    scim.call("delete", f"/Users/{row.uuid}")
    key, same = scim.created(NAME, externalId=ID)
    assert same == lone
    assert scim.patch(key, renamed).status_code == 409
    assert come() == lone
    assert not [*run_checks()]
    # A row that says otherwise is forged.
    ProvisionedUser.objects.filter(uuid=key).update(handed_over_at=None)
    assert scim.call("get", f"/Users/{key}").status_code == 404


@pytest.mark.every_database
def test_an_account_that_ended_is_handed_over_to_the_same_person_by_another_external_id(
    cast: Cast, scim: Scim
) -> None:
    """The way out of Okta's rehire: the earlier subject is out, and the new one waits for a manager."""
    key, user = scim.created(BEA, externalId="00u-old", active=True)
    assert come("00u-old") == user
    Membership.objects.create(environment=cast.development, user=user, role="editor")
    with pytest.raises(Conflict, match="manages this account already"):
        hand_over(cast, scim, user)
    assert scim.activate(key, False).status_code == 200
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    assert b"Hand over to a SCIM client" in root.get(f"/people/{user.username}").content
    path = reverse("admin:environments_app_user_object_act", args=[user.pk, "hand_over"])
    form = {"client": scim.row.pk, "external_id": "00u-new", "user_name": BEA}
    assert root.post(path, form).status_code == 302
    user.refresh_from_db()
    assert (user.saml_issuer, user.saml_name_id, user.is_active) == (None, None, False)

    # Okta tries again: it finds the user, and sends the whole of it.
    whole = {"schemas": [USER.urn], "userName": BEA, "externalId": "00u-new", "active": True}
    again = scim.call("get", f'/Users?filter=userName eq "{BEA}"').json()["Resources"][0]["id"]
    assert again != key
    assert scim.call("put", f"/Users/{again}", whole).status_code == 200
    with pytest.raises(SignOnRefused):
        come("00u-old")
    assert come("00u-new") == user
    principal = user_principal(User.objects.get(pk=user.pk))
    assert (principal.suspended, {grant.role for grant in principal.grants}) == (True, {"viewer"})

    # The earlier external ID is nobody's from now on: another person, also once the new one is deleted.
    for name in ("old@example.com", "older@example.com"):
        old, other = scim.created(name, externalId="00u-old", active=True)
        assert other != user
        scim.call("delete", f"/Users/{old}")
        scim.call("delete", f"/Users/{again}")
    assert not [*run_checks()]


def test_an_account_that_ended_is_handed_over_by_another_name_which_frees_the_name(
    cast: Cast, scim: Scim
) -> None:
    key, user = scim.created(BEA, externalId="00u-old", active=True)
    come("00u-old")
    scim.activate(key, False)
    # Another client gets it no more than one that is active.
    with pytest.raises(Conflict, match=r"another identity provider|manages this account already"):
        hand_over(cast, Scim(cast, name="Two"), user)
    hand_over(cast, scim, user, external_id="00u-old", user_name="old-bea@example.com")
    user.refresh_from_db()
    assert (user.saml_name_id, user.is_active) == ("00u-old", False)
    new, other = scim.created(BEA, externalId="00u-new", active=True)
    assert (other != user, come("00u-new")) == (True, other)
    with pytest.raises(SignOnRefused):
        come("00u-old")
    # What an administrator ended meanwhile, no client enables.
    scim.activate(new, False)
    accounts.update_user(actor=scim.root, user=other, is_active=True)
    accounts.update_user(actor=scim.root, user=other, is_active=False)
    row = hand_over(cast, scim, other, external_id="00u-third", user_name="third")
    assert scim.activate(str(row.uuid), True).status_code == 409
    assert not [*run_checks()]


def test_a_subject_that_signs_in_to_another_account_already_is_refused(cast: Cast, scim: Scim) -> None:
    """The account came while the form was shown."""
    other = accounts.create_provider_user(
        actor=system_principal(is_admin=True), username="bob-sso", issuer="oidc:okta", name_id=ID
    )
    with pytest.raises(Conflict, match="bob-sso signs in by this external ID already"):
        hand_over(cast, scim)
    assert scim.created(NAME, externalId=ID)[1] == other
    # Its own is none of another account.
    second = accounts.create_provider_user(
        actor=system_principal(is_admin=True), username="eve-sso", issuer="oidc:okta", name_id="00u-eve"
    )
    hand_over(cast, scim, second, external_id="00u-eve", user_name="eve")
    offered = Offer(issuer="oidc:okta", subject="00u-x", name="x", until=2**40)
    with (
        patch.object(connected, "label_of", return_value="Okta"),
        pytest.raises(Conflict, match="A SCIM client decides"),
    ):
        connected.connect(actor=user_principal(other).proven(), user=other, offered=offered)


def test_who_hands_an_account_over_and_who_has_the_tokens_stand_behind_it(cast: Cast, scim: Scim) -> None:
    place = cast.development
    Membership.objects.create(environment=place, user=cast.root, role="manager")
    hand_over(cast, scim)
    place.protected = True
    place.save()

    def behind() -> set[UUID]:
        return CustodyGraph().behind(cast.bob.uuid, environment=place)

    assert behind() == {cast.bob.uuid, cast.root.uuid, scim.token.uuid}
    alice, root = cast.principal(cast.alice), user_principal(cast.root).proven()
    since = User.objects.get(pk=cast.bob.pk).suspended_at

    def confirm(actor: Principal) -> None:
        suspensions.confirm_account(actor=actor, environment=place, user=cast.bob, since=since)

    # Not before whoever proves the external ID has signed in: until then it is the old person's word.
    with pytest.raises(Conflict, match="must first sign in as a person of Okta"):
        confirm(alice)
    come()
    with pytest.raises(Conflict, match="One person could sign in as you"):
        confirm(root)
    confirm(alice)
    assert behind() == {cast.bob.uuid}
    # Who signed in there before is in nobody else's hands.
    sue = accounts.create_provider_user(
        actor=system_principal(is_admin=True), username="sue", issuer="oidc:okta", name_id="sub-of-sue"
    )
    hand_over(cast, scim, sue, external_id="sub-of-sue", user_name="sue")
    assert CustodyGraph().behind(sue.uuid, environment=place) == {sue.uuid}


def test_no_sign_in_is_connected_before_the_first_one_there(cast: Cast, scim: Scim) -> None:
    hand_over(cast, scim)
    offered = Offer(issuer="oidc:other", subject="x", name="x", until=2**40)
    bob = User.objects.get(pk=cast.bob.pk)
    with (
        patch.object(connected, "label_of", return_value="Other"),
        pytest.raises(Conflict, match="First sign in by"),
    ):
        connected.connect(actor=user_principal(bob).proven(), user=bob, offered=offered)


def test_who_is_provisioned_is_not_invited_and_gets_no_link_before_the_first_sign_in(
    cast: Cast, scim: Scim, settings: Settings, signed_in: Callable[[User], Client]
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    key, bea = scim.created("bea@example.com", externalId="00u1", emails=[{"value": "bea@example.com"}])
    browser = signed_in(cast.root)
    assert b"Send invitation" not in browser.get("/people/bea").content
    with pytest.raises(Conflict, match="SCIM client provisions"):
        password_links.invite(actor=scim.root, user=bea)
    secret = keep(cast)
    with pytest.raises(InvalidField, match="bea has not signed in yet"):
        share_once(actor=cast.principal(cast.alice), secret=secret, recipient=bea)
    scim.call("delete", f"/Users/{key}")
    accounts.update_user(actor=scim.root, user=User.objects.get(pk=bea.pk), is_active=True)
    with pytest.raises(Conflict, match="SCIM client provisions"):
        password_links.invite(actor=scim.root, user=bea)
    scim.created("bea@example.com", externalId="00u1")
    bea = come("00u1")
    assert share_once(actor=cast.principal(cast.alice), secret=secret, recipient=bea)[1]


def test_the_admin_does_not_hand_over_what_a_client_manages(
    cast: Cast, scim: Scim, signed_in: Callable[[User], Client]
) -> None:
    path = reverse("admin:environments_app_user_object_act", args=[cast.bob.pk, "hand_over"])
    browser = signed_in(cast.root)
    assert browser.get(path).status_code == 200
    hand_over(cast, scim)
    answer = browser.get(path, follow=True)
    assert "Okta manages it already." in answer.content.decode()


def test_an_account_of_a_removed_client_is_handed_over(cast: Cast, scim: Scim) -> None:
    first = hand_over(cast, scim)
    scim_clients.remove_client(actor=scim.root, client=scim.row)
    second = hand_over(cast, Scim(cast, name="Next"))
    first.refresh_from_db()
    assert (first.live, second.live) == (None, True)
    assert not [*run_checks()]


def test_no_form_of_an_act_offers_a_removed_client(cast: Cast, scim: Scim) -> None:
    scim_clients.remove_client(actor=scim.root, client=scim.row)
    left = Scim(cast, name="Entra").row
    assert list(HandOverForm().fields["client"].queryset) == [left]  # type: ignore[attr-defined]  # a choice of rows


def test_a_client_that_deleted_a_person_takes_nobody_back_who_was_handed_over_since(
    cast: Cast, scim: Scim
) -> None:
    """It knows the account by the same external ID: another one manages it by now."""
    first = Scim(cast, name="First")
    key, user = first.created(externalId="00u1")
    first.call("delete", f"/Users/{key}")
    hand_over(cast, scim, user, external_id="00u2", user_name="bea")
    answer = first.create(externalId="00u1")
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    assert ProvisionedUser.objects.get(user=user, live=True).client == scim.row


def test_who_comes_under_the_former_id_of_an_account_that_was_handed_over_gets_another(
    cast: Cast, scim: Scim
) -> None:
    """The later ID ended as well: the account is still of who had that one."""
    key, user = scim.created(externalId="00u1")
    scim.call("delete", f"/Users/{key}")
    later = hand_over(cast, scim, user, external_id="00u2", user_name="bea")
    scim.call("delete", f"/Users/{later.uuid}")
    _, another = scim.created(externalId="00u1")
    assert another != user
    user.refresh_from_db()
    assert not user.is_active


def test_the_page_of_a_person_names_the_client_and_changes_nothing_of_its(cast: Cast, scim: Scim) -> None:
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    assert b"From Okta" not in root.get("/people/bob").content
    row = hand_over(cast, scim)
    page = root.get("/people/bob").content.decode()
    assert "From Okta: handed over" in page
    assert f"<b>{NAME}</b>" in page
    scim.patch(str(row.uuid), {"op": "replace", "path": "displayName", "value": "Bob B"})
    assert "From Okta, changed there" in root.get("/people/bob").content.decode()
    # What the form sends of a fixed field counts for nothing; the role is Keeper's.
    sent = {"display_name": "Mallory", "email": "m@example.com", "role": "auditor"}
    assert root.post(reverse("person-update", args=["bob"]), sent).status_code == 302
    user = User.objects.get(pk=cast.bob.pk)
    assert (user.display_name, user.email, user.role) == ("Bob B", cast.bob.email, "auditor")


def test_the_page_of_a_person_leads_to_handing_over_while_a_client_could_have_the_account(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    browser = signed_in(cast.root)

    def address(person: User) -> str:
        page = browser.get(f"/people/{person.username}").content.decode()
        return page.partition("Hand over to a SCIM client")[0].rpartition('href="')[2].partition('"')[0]

    assert "hand_over" not in address(cast.bob)
    scim = Scim(cast)
    assert browser.get(address(cast.bob)).status_code == 200
    assert "hand_over" not in address(cast.root)
    hand_over(cast, scim)
    assert "hand_over" not in address(cast.bob)


@pytest.mark.every_database
def test_an_account_is_handed_over_by_the_api(
    cast: Cast, scim: Scim, events: Events, signed_in: Callable[[User], Client]
) -> None:
    def ask(person: str = "bob", actor: User = cast.root, **changes: str) -> Any:
        body = {"client": "Okta", "external_id": ID, "user_name": NAME, **changes}
        return signed_in(actor).post(f"/api/users/{person}/hand-over", body, content_type="application/json")

    # Who hands nothing over learns of nobody.
    assert [ask(person, cast.alice).status_code for person in ("bob", "nobody")] == [403, 403]

    assert [ask("nobody").status_code, ask(client="okta").status_code, ask(external_id="").status_code] == [
        404, 400, 400,
    ]  # fmt: skip
    answer = ask()
    assert (answer.status_code, answer.json()) == (200, {
        "username": "bob", "client": "Okta", "external_id": ID, "user_name": NAME, "suspended": True,
    })  # fmt: skip
    assert ask().status_code == 409
    assert scim.listed() == [NAME]
    assert '"handed over"' in events(Action.USER_PROVISION)[-1].details
    scim_clients.remove_client(actor=user_principal(cast.root).proven(), client=scim.row)
    assert ask("erin").status_code == 400


def test_the_page_of_a_client_names_who_signs_in_there_and_is_not_managed(
    cast: Cast, scim: Scim, signed_in: Callable[[User], Client]
) -> None:
    browser, page = (
        signed_in(cast.root),
        reverse("admin:environments_app_scimclient_change", args=[scim.row.pk]),
    )

    def shown() -> str:
        return browser.get(page).content.decode().lower().partition("not managed")[2].partition("removed")[0]

    assert "none" in shown()
    keeper = system_principal(is_admin=True)
    wes, _ = (
        accounts.create_provider_user(actor=keeper, username=name, issuer=issuer, name_id=f"{name}-1")
        for name, issuer in (("wes", "oidc:okta"), ("xeno", "oidc:other"))
    )
    assert "/people/wes" in shown()
    assert "scim connector base url: <code>" in browser.get(page).content.decode().lower()
    assert "wes: wes-1" in shown()
    assert "xeno" not in shown()
    assert scim.created(externalId="wes-1")[1] == wes
    assert "none" in shown()
    unlinked = Scim(cast, name="Loose").row
    assert not scim_clients.unmanaged(unlinked).exists()


def test_the_form_says_that_the_sign_in_stays_and_whose_a_name_is(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    scim_clients.remove_client(actor=user_principal(cast.root).proven(), client=Scim(cast).row)
    browser, path = signed_in(cast.root), reverse("admin:environments_app_scimclient_add")
    assert "It never changes: to link another one" in browser.get(path).content.decode()
    page = browser.post(path, {"name": "Okta", "preset": "okta", "issuer": ""}).content.decode()
    assert "or had it and was removed" in page
    assert "Choose another one, such as Okta 2." in page
    assert browser.post(path, {"name": "Okta 2", "preset": "okta", "issuer": ""}).status_code == 302


def test_the_client_keeps_name_and_address_whoever_asks(cast: Cast, scim: Scim) -> None:
    row = hand_over(cast, scim)
    for change in ({"email": "m@example.com"}, {"display_name": "M"}):
        with pytest.raises(InvalidField, match="Okta keeps this"):
            accounts.update_user(actor=scim.root, user=cast.bob, **change)
    with pytest.raises(InvalidField, match="Okta keeps this"):
        accounts.set_own_name(actor=user_principal(cast.bob), user=cast.bob, display_name="M")
    # What is as it was, and the role and the state, are no change of its.
    accounts.update_user(actor=scim.root, user=cast.bob, email=cast.bob.email, is_active=False)
    # A forged row fixes nothing, and neither does a client that was removed.
    ProvisionedUser.objects.filter(pk=row.pk).update(user_name="forged")
    accounts.update_user(actor=scim.root, user=cast.bob, display_name="M")
    ProvisionedUser.objects.filter(pk=row.pk).update(user_name=NAME)
    scim_clients.remove_client(actor=scim.root, client=scim.row)
    accounts.update_user(actor=scim.root, user=cast.bob, display_name="N")
