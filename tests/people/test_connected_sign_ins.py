"""A second way into the same account: connected by its person alone, from a fresh session, and taken away."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authentication.sign_in import start_provider_session
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.authorization.rows import access_rows
from environments_app.errors import Conflict
from environments_app.models import (
    ConnectedSignIn,
    Membership,
    OidcProvider,
    PersonalToken,
    ProvisionedUser,
    Role,
    Session,
    User,
)
from environments_app.oidc import providers
from environments_app.single_sign_on import connected
from environments_app.single_sign_on.group_mapping import map_group
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens import scim_clients
from environments_app.tokens.personal import issue_personal
from environments_app.users import accounts
from tests.oidc_issuer.server import Issuer, serving
from tests.people.test_oidc import (
    _allowed,
    add,
    answer,
    ask,
    issuer,
    log_out,
    provider,
    refusals,
    served,
    sign_in,
    who,
)
from tests.people.test_scim import Scim

pytestmark = pytest.mark.every_database_weekly
__all__ = ["_allowed", "issuer", "provider", "served"]
Events = Callable[..., list[AuditEvent]]
PAGE = "/profile/sign-ins/connect"


@pytest.fixture
def alice(cast: Cast) -> Client:
    """The browser of alice, who has just entered her password."""
    client = Client()
    assert client.post("/sign-in", {"username": "alice", "password": PASSWORD}).status_code == 302
    return client


@pytest.fixture
def other(cast: Cast) -> Iterator[Issuer]:
    with serving() as issuer:
        add(cast, issuer, slug="globex", label="Globex")
        yield issuer


def vouch(client: Client, issuer: Issuer, slug: str = "acme", **claims: Any) -> Any:
    """Come back from a provider that was asked to vouch for the person of this browser."""
    return answer(client, issuer.accept(issuer.attempt(ask(client, slug, connect="1"), **claims)), slug)


def connect_it(client: Client, issuer: Issuer, slug: str = "acme", **claims: Any) -> Any:
    assert vouch(client, issuer, slug, **claims)["Location"] == PAGE
    return client.post(PAGE)


def stale(client: Client) -> None:
    session = client.session
    session["confirmed_at"] = 0
    session.save()


def row() -> ConnectedSignIn:
    return ConnectedSignIn.objects.get()


@pytest.mark.every_database
def test_a_local_account_signs_in_by_a_provider_too(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, events: Events
) -> None:
    assert b"Connect Acme" in alice.get("/profile").content
    asked = ask(alice, connect="1")
    # The provider asks who it is: what another person left signed in there is not enough.
    assert asked.query["prompt"] == "login"
    assert answer(alice, issuer.accept(issuer.attempt(asked)))["Location"] == PAGE
    # Nothing is connected by the answer alone.
    assert not ConnectedSignIn.objects.exists()
    page = alice.get(PAGE).content.decode()
    assert "<b>dora</b>" in page
    assert "<b>alice</b>" in page
    assert alice.post(PAGE)["Location"] == "/profile#sign-ins"
    told = events(Action.USER_CHANGE)[-1]
    details = json.loads(told.details)
    assert (details["sign_in"], details["issuer"], details["as"]) == ("connected", "oidc:acme", "dora")
    assert told.actor_uuid == cast.alice.uuid
    assert b"Disconnect Acme" in alice.get("/profile").content

    client = Client()
    sign_in(client, issuer, email="other@example.com", name="Somebody")
    assert who(client) == "alice"
    # The account is described by its person, not by what was connected.
    user = User.objects.get(pk=cast.alice.pk)
    assert (user.email, user.display_name) == (cast.alice.email, cast.alice.display_name)
    assert user.has_usable_password()
    assert not [*access_rows()]


def test_an_account_of_one_provider_signs_in_by_another(
    cast: Cast, provider: OidcProvider, issuer: Issuer, other: Issuer
) -> None:
    client = Client()
    sign_in(client, issuer)
    connect_it(client, other, "globex", sub="dora-there", preferred_username="dora2")
    again = Client()
    sign_in(again, other, "globex", sub="dora-there", preferred_username="dora2")
    assert who(again) == "dora"
    # The first one is as before.
    sign_in(Client(), issuer)
    assert User.objects.filter(username__startswith="dora").count() == 1


def test_neither_an_address_nor_a_name_connects(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    response = sign_in(
        Client(), issuer, sub="sub-of-another", preferred_username="alice", email=cast.alice.email or "a@b.c"
    )
    assert response.status_code == 403
    assert refusals() == ["oidc-name-taken"]


def test_a_stolen_session_connects_nothing(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    """It knows no password: the proof has lapsed."""
    stale(alice)
    assert vouch(alice, issuer)["Location"] == PAGE
    assert b"proof-password" in alice.get(PAGE).content
    assert alice.post(PAGE).status_code == 200
    assert alice.post(PAGE, {"proof-password": "wrong"}).status_code == 422
    assert not ConnectedSignIn.objects.exists()
    assert alice.post(PAGE, {"proof-password": PASSWORD}).status_code == 302
    assert ConnectedSignIn.objects.exists()


@pytest.mark.parametrize(
    "stated", [None, 1, 4_000, 90], ids=["none", "at the epoch", "an hour ago", "just before"]
)
def test_an_old_session_there_connects_nothing(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, stated: int | None
) -> None:
    """Somebody else may have left it: the provider has to state that it asked for credentials now."""
    attempt = issuer.attempt(ask(alice, connect="1"))
    attempt.claims.pop("auth_time")
    if stated is not None:
        attempt.claims["auth_time"] = 1 if stated == 1 else int(time.time()) - stated
    assert answer(alice, issuer.accept(attempt)).status_code == 403
    assert refusals() == ["oidc-not-fresh"]
    alice.post(PAGE)
    assert not ConnectedSignIn.objects.exists()


def test_a_session_of_a_provider_proves_it_there(
    cast: Cast, provider: OidcProvider, issuer: Issuer, other: Issuer
) -> None:
    client = Client()
    sign_in(client, issuer)
    stale(client)
    vouch(client, other, "globex", sub="dora-there")
    for response in (client.get(PAGE), client.post(PAGE)):
        assert response["Location"].startswith("/confirm")
    assert not ConnectedSignIn.objects.exists()
    # The offer waits.
    asked = ask(client, again="1", next=PAGE)
    assert answer(client, issuer.accept(issuer.attempt(asked)))["Location"] == PAGE
    assert client.post(PAGE)["Location"] == "/profile#sign-ins"
    assert row().user.username == "dora"


def test_a_link_of_an_attacker_connects_nothing(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    """The attacker's browser began it, and is vouched for; alice's is led to the callback."""
    attacker = Client()
    attacker.post("/sign-in", {"username": "root", "password": PASSWORD})
    began = ask(attacker, connect="1")
    planted = issuer.accept(issuer.attempt(began, sub="attacker"))
    assert answer(alice, planted).status_code == 403
    assert refusals() == ["oidc-other-browser"]
    # With the attacker's cookie planted too, the request is still the attacker's.
    alice.cookies["keeper_oidc"] = attacker.cookies["keeper_oidc"].value
    assert answer(alice, planted).status_code == 403
    assert refusals()[-1] == "oidc-other-person"
    assert not ConnectedSignIn.objects.exists()


def test_a_form_of_another_site_connects_nothing(cast: Cast, provider: OidcProvider, issuer: Issuer) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice)
    vouch(client, issuer, sub="attacker")
    assert client.post(PAGE).status_code == 403
    assert not ConnectedSignIn.objects.exists()


def test_a_state_of_another_session_connects_nothing(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    began = issuer.accept(issuer.attempt(ask(alice, connect="1")))
    # Another person signs in in the same browser meanwhile.
    alice.post("/sign-out")
    alice.post("/sign-in", {"username": "root", "password": PASSWORD})
    assert answer(alice, began).status_code == 403
    assert refusals() == ["oidc-other-person"]
    assert alice.post(PAGE)["Location"] == "/profile#sign-ins"
    assert not ConnectedSignIn.objects.exists()


def test_an_offer_is_none_of_the_next_person_s(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    vouch(alice, issuer)
    alice.post("/sign-out")
    alice.post("/sign-in", {"username": "root", "password": PASSWORD})
    assert alice.get(PAGE)["Location"] == "/profile#sign-ins"
    alice.post(PAGE)
    assert not ConnectedSignIn.objects.exists()


def test_an_offer_ends(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    vouch(alice, issuer)
    monkeypatch.setattr(connected, "LIFETIME_SECONDS", -1)
    alice.post(PAGE)
    assert not ConnectedSignIn.objects.exists()


def test_the_form_of_one_tab_connects_not_what_another_tab_brought(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    def shown() -> str:
        found = re.search(r'name="offered" value="([0-9a-f]{64})"', alice.get(PAGE).content.decode())
        assert found
        return found.group(1)

    vouch(alice, issuer)
    first = shown()
    vouch(alice, issuer, sub="eve", preferred_username="eve")
    assert alice.post(PAGE, {"offered": first})["Location"] == PAGE
    assert not ConnectedSignIn.objects.exists()
    alice.post(PAGE, {"offered": shown()})
    assert row().subject == "eve"


def test_an_offer_counts_once(cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client) -> None:
    connect_it(alice, issuer)
    alice.post("/profile/sign-ins/disconnect", {"sign_in": str(row().uuid)})
    alice.post(PAGE)
    assert not ConnectedSignIn.objects.exists()


def test_a_sign_in_that_has_an_account_is_not_connected(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    sign_in(Client(), issuer)
    assert vouch(alice, issuer).status_code == 403
    assert refusals() == ["oidc-connected"]
    assert not ConnectedSignIn.objects.exists()


def _first_sign_in(cast: Cast, issuer: Issuer, provider: OidcProvider) -> None:
    sign_in(Client(), issuer)


def _connected_elsewhere(cast: Cast, issuer: Issuer, provider: OidcProvider) -> None:
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    connect_it(root, issuer)


def _provider_disabled(cast: Cast, issuer: Issuer, provider: OidcProvider) -> None:
    providers.change_provider(actor=user_principal(cast.root).proven(), provider=provider, enabled=False)


@pytest.mark.parametrize("act", [_first_sign_in, _connected_elsewhere, _provider_disabled])
def test_what_happens_before_the_word_is_given_counts(
    cast: Cast,
    provider: OidcProvider,
    issuer: Issuer,
    alice: Client,
    act: Callable[[Cast, Issuer, OidcProvider], None],
) -> None:
    vouch(alice, issuer)
    act(cast, issuer, provider)
    assert alice.post(PAGE)["Location"] == "/profile#sign-ins"
    assert not ConnectedSignIn.objects.filter(user=cast.alice).exists()


def test_a_session_that_is_ended_meanwhile_is_not_revived(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = issuer.accept(issuer.attempt(ask(alice, connect="1")))
    bound_to = type(User.objects).bound_to

    def ended(manager: Any, issuer: str, subject: str) -> User | None:
        Session.objects.all().delete()
        return bound_to(manager, issuer, subject)

    monkeypatch.setattr(type(User.objects), "bound_to", ended)
    assert answer(alice, began).status_code == 403
    assert refusals() == ["oidc-session-ended"]
    assert who(alice) is None


def test_there_is_a_most(cast: Cast, issuer: Issuer, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    add(cast, issuer)
    monkeypatch.setattr(connected, "MAX_CONNECTED", 0)
    connect_it(alice, issuer)
    assert not ConnectedSignIn.objects.exists()


def test_groups_of_the_last_sign_in_count(
    cast: Cast, provider: OidcProvider, issuer: Issuer, other: Issuer
) -> None:
    """A sign-in without the groups keeps nothing of what they gave: a mover cannot avoid the provider."""
    root = user_principal(cast.root).proven()
    map_group(
        actor=root, group="engineers", environment=cast.development, role=Role.VIEWER, provider=provider
    )
    client = Client()
    sign_in(client, issuer)
    assert Membership.objects.filter(user__username="dora").exists()
    connect_it(client, other, "globex", sub="dora-there")
    sign_in(Client(), other, "globex", sub="dora-there", groups=["engineers"])
    assert not Membership.objects.filter(user__username="dora").exists()


def test_disconnecting_ends_what_began_elsewhere(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, events: Events
) -> None:
    connect_it(alice, issuer)
    by_provider = Client()
    sign_in(by_provider, issuer)
    issue_personal(actor=user_principal(cast.alice).proven(), name="laptop")
    uuid = str(row().uuid)
    response = alice.post("/profile/sign-ins/disconnect", {"sign_in": uuid})
    assert response["Location"] == "/profile#sign-ins"
    assert not ConnectedSignIn.objects.exists()
    assert (who(by_provider), who(alice)) == (None, "alice")
    assert PersonalToken.objects.get().revoked_at
    [told] = [
        json.loads(event.details) for event in events(Action.USER_CHANGE) if "disconnected" in event.details
    ]
    assert told["issuer"] == "oidc:acme"
    # It is a stranger now, who gets an account of their own.
    stranger = Client()
    sign_in(stranger, issuer)
    assert who(stranger) == "dora"
    # Twice is once.
    assert alice.post("/profile/sign-ins/disconnect", {"sign_in": uuid}).status_code == 302


def test_the_first_sign_in_stays(cast: Cast, provider: OidcProvider, issuer: Issuer, other: Issuer) -> None:
    client = Client()
    sign_in(client, issuer)
    connect_it(client, other, "globex", sub="dora-there")
    page = client.get("/profile").content.decode()
    assert re.findall(r'name="sign_in" value="([^"]+)"', page) == [str(row().uuid)]
    client.post("/profile/sign-ins/disconnect", {"sign_in": str(User.objects.get(username="dora").uuid)})
    sign_in(Client(), issuer)
    assert User.objects.get(username="dora").saml_name_id == "sub-of-dora"


def test_the_sign_in_of_this_session_stays(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    client = Client()
    sign_in(client, issuer)
    client.post("/profile/sign-ins/disconnect", {"sign_in": str(row().uuid)})
    assert b"You signed in by it." in client.get("/profile").content
    assert ConnectedSignIn.objects.exists()


def test_a_stale_session_disconnects_nothing(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    stale(alice)
    response = alice.post("/profile/sign-ins/disconnect", {"sign_in": str(row().uuid)})
    assert response["Location"].startswith("/confirm")
    assert ConnectedSignIn.objects.exists()


def test_nobody_disconnects_another_person_s(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    root.post("/profile/sign-ins/disconnect", {"sign_in": str(row().uuid)})
    assert ConnectedSignIn.objects.exists()
    with pytest.raises(Conflict):
        connected.disconnect(
            actor=user_principal(cast.bob).proven(), user=cast.bob, uuid=str(row().uuid), subject=None,
            except_key="",
        )  # fmt: skip


def test_a_sign_in_that_begins_while_it_is_disconnected_ends(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_it(alice, issuer)

    def slowly(*arguments: Any, **given: Any) -> None:
        connected.disconnect(
            actor=user_principal(cast.alice).proven(), user=cast.alice, uuid=str(row().uuid), subject=None,
            except_key="",
        )  # fmt: skip
        start_provider_session(*arguments, **given)

    monkeypatch.setattr("environments_app.single_sign_on.answers.start_provider_session", slowly)
    client = Client()
    assert sign_in(client, issuer).status_code == 403
    assert refusals() == ["oidc-session-ended"]
    assert who(client) is None


@pytest.mark.parametrize("by", ["an administrator", "the host", "a restored account"])
def test_a_password_that_another_person_sets_ends_them(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, by: str
) -> None:
    """Who used the account before, such as its maker, may have connected a sign-in of their own."""
    connect_it(alice, issuer)
    actor = system_principal(is_admin=True) if by == "the host" else cast.principal(cast.root)
    if by == "a restored account":
        accounts.restore_account(actor=actor, user=cast.alice, role="user", password="another-long-phrase")
    else:
        accounts.set_password(actor=actor, user=cast.alice, password="another-long-phrase")
    assert not ConnectedSignIn.objects.exists()
    assert not [*access_rows()]


def test_an_own_password_ends_none(cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client) -> None:
    connect_it(alice, issuer)
    accounts.set_password(
        actor=user_principal(cast.alice).proven(), user=cast.alice, password="another-long-phrase"
    )
    assert ConnectedSignIn.objects.exists()


def test_a_disabled_account_stays_out(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    accounts.disable_user(actor=cast.principal(cast.root), user=cast.alice)
    client = Client()
    assert sign_in(client, issuer).status_code == 403
    assert refusals() == ["oidc-account"]


def test_a_suspended_account_sees_names_alone(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    user = User.objects.get(pk=cast.alice.pk)
    user.suspended_at = timezone.now()
    user.save()
    client = Client()
    sign_in(client, issuer)
    assert {grant["role"] for grant in client.get("/api/whoami").json()["grants"]} == {"viewer"}


def test_the_provider_ends_its_sessions(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    client = Client()
    sign_in(client, issuer, sid="one")
    assert log_out(issuer, sid="one").status_code == 200
    assert (who(client), who(alice)) == (None, "alice")


def test_a_provider_that_is_disabled_ends_sessions_of_its_people(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    client = Client()
    sign_in(client, issuer)
    _provider_disabled(cast, issuer, provider)
    assert who(client) is None


@pytest.mark.every_database
@pytest.mark.parametrize(
    "change",
    [
        "user_id = (SELECT id FROM environments_app_user WHERE username = 'root')",
        "subject = 'sub-of-another'",
        "issuer = 'oidc:globex'",
    ],
)
def test_an_edited_row_opens_no_account(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, change: str
) -> None:
    connect_it(alice, issuer, sub="kept")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE environments_app_connectedsignin SET {change}")
    client = Client()
    sign_in(client, issuer, sub="sub-of-another" if "subject" in change else "kept")
    assert who(client) not in {"alice", "root"}
    assert [*access_rows()]


@pytest.mark.every_database
def test_what_was_disconnected_and_put_back_is_found(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    connect_it(alice, issuer)
    kept = ConnectedSignIn.objects.values().get()
    alice.post("/profile/sign-ins/disconnect", {"sign_in": str(kept["uuid"])})
    assert not [*access_rows()]
    ConnectedSignIn(**kept).save_base(raw=True, force_insert=True)
    assert [*access_rows()]


def test_who_is_not_signed_in_connects_nothing(cast: Cast, provider: OidcProvider, issuer: Issuer) -> None:
    assert Client().get("/oidc/acme/start", {"connect": "1"})["Location"] == "/sign-in"


def provision(cast: Cast, issuer: str = "oidc:acme") -> Scim:
    """Link a SCIM client to a sign-in."""
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:acme": "Acme", "saml": "SAML"}):
        return Scim(cast, issuer=issuer)


@pytest.mark.every_database
def test_linking_a_scim_client_disconnects_and_signs_out(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, events: Events
) -> None:
    connect_it(alice, issuer)
    began = Client()
    sign_in(began, issuer)
    assert who(began) == "alice"
    issue_personal(actor=user_principal(cast.alice), name="laptop")
    scim = provision(cast)
    assert not ConnectedSignIn.objects.exists()
    assert not Session.objects.filter(user=cast.alice).exists()
    assert not PersonalToken.objects.filter(user=cast.alice, revoked_at=None).exists()
    told = [json.loads(event.details) for event in events(Action.USER_CHANGE)]
    assert told[-1]["sign_in"] == "disconnected"
    # Neither before the person is provisioned nor after the end does the subject open anything of alice.
    for act in (
        lambda: None,
        lambda: scim.created(externalId="sub-dora"),
        lambda: scim.activate(str(ProvisionedUser.objects.get().uuid), False),
        lambda: scim.call("delete", f"/Users/{ProvisionedUser.objects.get().uuid}"),
    ):
        act()
        client = Client()
        sign_in(client, issuer, sub="sub-dora")
        assert who(client) in {None, "bea"}
    assert not [*access_rows()]


def test_linking_saml_ends_its_connections_and_leaves_those_of_other_providers(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    ConnectedSignIn.objects.create(user=cast.bob, issuer="https://idp.example", subject="bob", name="Bob")
    connect_it(alice, issuer)
    provision(cast, "saml")
    assert row().user == cast.alice
    client = Client()
    sign_in(client, issuer)
    assert who(client) == "alice"


@pytest.mark.parametrize("provisioned", [False, True])
def test_a_provisioned_sign_in_is_not_connected(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client, *, provisioned: bool
) -> None:
    scim = provision(cast)
    if provisioned:
        scim.created(externalId="sub-dora")
    assert b"Connect Acme" not in alice.get("/profile").content
    assert vouch(alice, issuer, sub="sub-dora").status_code == 403
    assert refusals() == ["oidc-provisioned"]
    assert not ConnectedSignIn.objects.exists()


def test_a_client_that_is_linked_before_the_word_is_given_counts(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    assert vouch(alice, issuer)["Location"] == PAGE
    provision(cast)
    alice.post(PAGE)
    assert not ConnectedSignIn.objects.exists()


def test_a_connection_that_stands_beside_a_linked_client_opens_nothing(
    cast: Cast, provider: OidcProvider, issuer: Issuer, alice: Client
) -> None:
    """Made while the client was being linked."""
    connect_it(alice, issuer, sub="sub-dora")
    with patch.object(scim_clients, "_disconnect", return_value=[]):
        scim = provision(cast)
    client = Client()
    sign_in(client, issuer, sub="sub-dora")
    assert who(client) is None
    scim.created(externalId="sub-dora")
    sign_in(client, issuer, sub="sub-dora")
    assert who(client) == "bea"
    assert row().user == cast.alice
