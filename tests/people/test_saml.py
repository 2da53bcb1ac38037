"""Signing in through an identity provider, and every way in which an answer can be wrong."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.db import connections
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from saml2 import sigver
from saml2.sigver import CryptoBackendXmlSec1

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.models import Membership, Role, SamlAssertion, User, UserRole
from environments_app.saml import djangosaml2_views
from environments_app.saml.protocol import xml_document
from environments_app.single_sign_on.group_mapping import map_group, unmap_group
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.personal import issue_personal
from environments_app.users import accounts
from tests.people.test_scim import Scim
from tests.saml_idp.provider import (
    ISSUER,
    Answer,
    Logout,
    Provider,
    encoded,
    read_logout,
    read_logout_response,
    read_request,
)
from tests.saml_idp.wrapping import SHAPES, take_apart

pytestmark = pytest.mark.every_database_weekly

PUBLIC = "http://testserver"
AUDIENCE = f"{PUBLIC}/saml/metadata"
ALICE = "alice.w@example.com"
Events = Callable[..., list[AuditEvent]]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saml")


@pytest.fixture(scope="session")
def provider(keys: Path) -> Provider:
    return Provider(keys / "idp")


@pytest.fixture(scope="session")
def stranger(keys: Path) -> Provider:
    """A provider with the same name and another key."""
    return Provider(keys / "stranger")


@pytest.fixture(scope="module", autouse=True)
def _read_once() -> Iterator[None]:
    """Read each key and xmlsec1's version once: pysaml2 does for each request, and proves the key's primes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sigver, "import_rsa_key_from_file", cache(sigver.import_rsa_key_from_file))
        version = CryptoBackendXmlSec1(shutil.which("xmlsec1") or "xmlsec1").version
        patched.setattr(CryptoBackendXmlSec1, "version", version)
        yield


@pytest.fixture(autouse=True)
def _saml(settings: Settings, provider: Provider, keys: Path) -> None:
    file = keys / "metadata.xml"
    file.write_text(provider.metadata())
    settings.KEEPER_SAML = True
    settings.KEEPER_URL = PUBLIC
    settings.KEEPER_SAML_METADATA_FILE = str(file)
    settings.KEEPER_SAML_KEY_FILE = str(keys / "saml.key")
    settings.KEEPER_SAML_CERTIFICATE_FILE = str(keys / "saml.crt")
    settings.KEEPER_DATA_DIR = keys
    settings.KEEPER_REFUSALS_PER_MINUTE = 1000


def ask(client: Client, **query: str) -> Answer:
    """Start to sign in, and return the answer that an honest provider would give."""
    response = client.get("/saml/start", query)
    assert response.status_code == 302, response.content
    asked = read_request(response["Location"])
    return Answer(request_id=asked.id, acs=asked.acs, audience=asked.issuer, name_id=ALICE)


def post(text: str) -> HttpResponse:
    """Post an answer as a browser does from another site: without cookies of Keeper."""
    return Client().post("/saml/acs", {"SAMLResponse": encoded(text)})  # type: ignore[return-value]


def follow(client: Client, response: HttpResponse) -> HttpResponse:
    assert response.status_code == 302, response.content
    return client.get(response["Location"])  # type: ignore[return-value]


def sign_in(client: Client, provider: Provider, **changes: Any) -> HttpResponse:
    return follow(client, post(provider.respond(replace(ask(client), **changes))))


def who(client: Client) -> str | None:
    response = client.get("/api/whoami")
    return str(response.json()["name"]) if response.status_code == 200 else None


def in_groups(*groups: str) -> dict[str, list[str]]:
    return {"groups": list(groups), "email": [ALICE], "displayName": ["Alice W."]}


# --- What works ----------------------------------------------------------------------------------


def test_it_asks_by_redirect_with_a_signed_request(cast: Cast, client: Client) -> None:
    asked = read_request(client.get("/saml/start", {"next": "/secrets"})["Location"])
    assert (asked.acs, asked.issuer, asked.signed, asked.again) == (
        f"{PUBLIC}/saml/acs",
        AUDIENCE,
        True,
        False,
    )
    assert "secrets" not in asked.relay_state
    cookie = client.cookies["keeper_saml"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/saml/")


def test_an_answer_signs_in_and_leads_where_one_wanted_to_go(
    cast: Cast, client: Client, provider: Provider, events: Events
) -> None:
    answer = replace(ask(client, next="/secrets?q=1"), attributes=in_groups())
    response = follow(client, post(provider.respond(answer)))
    assert (response.status_code, response["Location"]) == (302, "/secrets?q=1")
    assert who(client) == ALICE
    user = User.objects.get(username=ALICE)
    assert (user.saml_issuer, user.saml_name_id, user.email, user.display_name) == (
        ISSUER,
        ALICE,
        ALICE,
        "Alice W.",
    )
    assert not user.has_usable_password()
    (event,) = events(Action.SIGN_IN)
    assert (event.actor_name, event.outcome) == (ALICE, "allowed")
    assert ISSUER in event.details


XS, XSI = "http://www.w3.org/2001/XMLSchema", "http://www.w3.org/2001/XMLSchema-instance"
# As Okta sends an empty field of a profile, ADFS and Microsoft Entra a typed one, and others any.
TYPED = (
    f'<saml:AttributeValue xmlns:xs="{XS}" xmlns:xsi="{XSI}" xsi:type="xs:string"/>',
    f'<saml:AttributeValue xmlns:xs="{XS}" xmlns:xsi="{XSI}" xsi:type="xs:string"></saml:AttributeValue>',
    f'<saml:AttributeValue xmlns:tn="{XS}" xmlns:a="{XSI}" a:type="tn:boolean">true</saml:AttributeValue>',
    f'<saml:AttributeValue xmlns:b="{XS}" xmlns:xsi="{XSI}" xsi:type="b:anyType">x</saml:AttributeValue>',
    f'<saml:AttributeValue xmlns:xsi="{XSI}" xsi:nil="true"/>',
    "<saml:AttributeValue/>",
)


@pytest.mark.parametrize("value", TYPED)
def test_a_value_may_be_typed_or_empty(cast: Cast, client: Client, provider: Provider, value: str) -> None:
    def added(text: str) -> str:
        plain = "<saml:AttributeValue>one</saml:AttributeValue>"
        assert plain in text
        return text.replace(plain, value)

    answer = replace(ask(client), attributes={"displayName": ["one"]})
    follow(client, post(provider.respond(answer, before=added)))
    assert who(client) == ALICE


def test_an_answer_that_breaks_the_schema_is_refused(cast: Cast, client: Client, provider: Provider) -> None:
    def added(text: str) -> str:
        return text.replace("<saml:AuthnContext>", '<saml:AuthnContext Class="none">')

    refused(post(provider.respond(ask(client), before=added)), "saml-malformed")


@pytest.mark.parametrize(
    "attribute", ["externalId", "http://schemas.microsoft.com/identity/claims/objectidentifier"]
)
def test_the_directorys_name_of_a_person_proves_whose_provisioned_account_it_is(
    cast: Cast, client: Client, provider: Provider, attribute: str
) -> None:
    scim = Scim(cast, name="Corp", issuer="saml")
    _, user = scim.created("sam@example.com", externalId="00u7")
    refused(sign_in(client, provider, attributes={attribute: ["00u8"]}), "saml-not-provisioned")
    sign_in(client, provider, attributes={attribute: ["00u7"]})
    assert who(client) == user.username


def test_it_finds_the_same_account_again(cast: Cast, provider: Provider) -> None:
    for _ in range(2):
        client = Client()
        sign_in(client, provider)
        assert who(client) == ALICE
    assert User.objects.filter(saml_issuer=ISSUER).count() == 1


def test_nothing_asserted_stays_behind(cast: Cast, client: Client, provider: Provider) -> None:
    sign_in(client, provider, attributes=in_groups("some-group"))
    row = SamlAssertion.objects.get()
    assert row.statement == {}
    assert row.is_authentic()


def test_groups_give_and_take_roles(cast: Cast, provider: Provider, events: Events) -> None:
    # As a manager too: what is mapped by administration alone waits for one (test_suspensions.py).
    Membership.objects.create(environment=cast.development, user=cast.root, role="manager")
    root = cast.principal(cast.root)
    map_group(actor=root, group="dev-readers", environment=cast.development, role="reader")
    map_group(actor=root, group="dev-editors", environment=cast.development, role="editor")
    map_group(actor=root, group="pay", environment=cast.production, role="viewer", prefix="payments")

    def grants(*groups: str) -> set[tuple[str, str, str]]:
        client = Client()
        sign_in(client, provider, attributes=in_groups(*groups))
        user = User.objects.get(username=ALICE)
        return {(grant.environment_name, grant.role, grant.prefix) for grant in user_principal(user).grants}

    assert grants("dev-readers", "unknown") == {("development", "reader", "")}
    assert grants("dev-readers", "dev-editors", "pay") == {
        ("development", "editor", ""), ("production", "viewer", "payments")
    }  # fmt: skip
    assert grants("pay") == {("production", "viewer", "payments")}
    assert grants() == set()
    assert {event.actor_kind for event in events(Action.MEMBER_REVOKE)} == {"system"}


def test_the_members_page_says_whose_grant_it_is(
    cast: Cast, provider: Provider, signed_in: Callable[[User], Client]
) -> None:
    map_group(actor=cast.principal(cast.root), group="r", environment=cast.development, role="reader")
    path = "/environments/development"
    assert b"by single sign-on" not in signed_in(cast.alice).get(path).content
    sign_in(Client(), provider, attributes=in_groups("r"))
    assert b"by single sign-on" in signed_in(cast.alice).get(path).content


def test_what_people_granted_stays(cast: Cast, provider: Provider) -> None:
    mapping = map_group(
        actor=cast.principal(cast.root), group="readers", environment=cast.development, role="reader"
    )
    sign_in(Client(), provider, attributes=in_groups("readers"))
    user = User.objects.get(username=ALICE)
    Membership.objects.create(environment=cast.development, user=user, role="viewer")
    unmap_group(actor=cast.principal(cast.root), mapping=mapping)
    sign_in(Client(), provider, attributes=in_groups("readers"))
    assert [(row.role, row.source) for row in Membership.objects.filter(user=user)] == [("viewer", "")]


def test_administrators_come_and_go_by_a_group(cast: Cast, provider: Provider) -> None:
    map_group(actor=cast.principal(cast.root), group="ops", environment=None, role="admin")
    for groups, role in ((["ops"], "admin"), ([], "user")):
        sign_in(Client(), provider, attributes=in_groups(*groups))
        assert User.objects.get(username=ALICE).role == role
    accounts.update_user(
        actor=cast.principal(cast.root), user=User.objects.get(username=ALICE), role=UserRole.ADMIN
    )
    sign_in(Client(), provider, attributes=in_groups())
    assert User.objects.get(username=ALICE).role == "admin"


def test_a_group_with_blanks_around_it_is_another(cast: Cast, provider: Provider) -> None:
    map_group(actor=cast.principal(cast.root), group="boss", environment=None, role=UserRole.ADMIN)
    for name in (" boss", "boss ", " boss ", "Boss", "boss\u00a0", "\nboss"):
        sign_in(Client(), provider, attributes=in_groups(name))
        assert User.objects.get(username=ALICE).role == UserRole.USER, name
    sign_in(Client(), provider, attributes=in_groups(" boss ", "boss"))
    assert User.objects.get(username=ALICE).role == UserRole.ADMIN


def several(*providers: Provider) -> str:
    return (
        '<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">'
        f"{''.join(each.metadata() for each in providers)}</md:EntitiesDescriptor>"
    )


def test_metadata_of_several_providers_serves_the_one_that_is_named(
    cast: Cast, client: Client, provider: Provider, settings: Settings, tmp_path: Path
) -> None:
    other = Provider(tmp_path / "other", issuer="https://other.example.com/saml")
    file = tmp_path / "metadata.xml"
    file.write_text(several(other, provider))
    settings.KEEPER_SAML_METADATA_FILE = str(file)
    answer = client.get("/saml/start")
    assert answer.status_code == 503
    assert "set KEEPER_SAML_IDP_ENTITY_ID" in answer.content.decode()
    settings.KEEPER_SAML_IDP_ENTITY_ID = ISSUER
    sign_in(client, provider)
    assert who(client) == ALICE
    refused(post(other.respond(replace(ask(Client()), issuer=other.issuer))), "saml-issuer")
    refused(post(other.respond(ask(Client()))), "saml-signature")


@pytest.mark.parametrize("role", ["SPSSODescriptor", "AttributeAuthorityDescriptor"])
def test_a_key_of_another_role_signs_no_assertion(
    cast: Cast,
    client: Client,
    provider: Provider,
    stranger: Provider,
    settings: Settings,
    tmp_path: Path,
    role: str,
) -> None:
    key = re.search(r"<md:KeyDescriptor.*</md:KeyDescriptor>", stranger.metadata())
    assert key
    service = (
        '<md:AttributeService Binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP" Location="https://idp.example.com/a"/>'
        if role.startswith("Attribute")
        else '<md:AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" '
        'Location="https://idp.example.com/acs" index="0"/>'
    )
    other = f'<md:{role} protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{key[0]}{service}</md:{role}>'
    file = tmp_path / "metadata.xml"
    file.write_text(provider.metadata().replace("</md:EntityDescriptor>", f"{other}</md:EntityDescriptor>"))
    settings.KEEPER_SAML_METADATA_FILE = str(file)
    refused(post(stranger.respond(ask(client))), "saml-signature")
    sign_in(client, provider)
    assert who(client) == ALICE


def test_the_last_administrator_is_kept_and_that_is_recorded(
    cast: Cast, provider: Provider, events: Events
) -> None:
    map_group(actor=cast.principal(cast.root), group="ops", environment=None, role="admin")
    sign_in(Client(), provider, attributes=in_groups("ops"))
    accounts.disable_user(actor=system_principal(is_admin=True), user=cast.root)
    sign_in(Client(), provider, attributes=in_groups())
    assert User.objects.get(username=ALICE).role == "admin"
    assert events(Action.USER_CHANGE)[-1].outcome == "failed"


def test_a_forged_mapping_grants_nothing(cast: Cast, provider: Provider, sql: Callable[..., None]) -> None:
    mapping = map_group(
        actor=cast.principal(cast.root), group="readers", environment=cast.development, role="viewer"
    )
    sql("UPDATE environments_app_samlgroupmapping SET role = 'manager' WHERE id = %s", mapping.pk)
    sign_in(Client(), provider, attributes=in_groups("readers"))
    assert not Membership.objects.filter(user__username=ALICE).exists()


def test_a_grant_of_groups_cannot_be_made_one_of_people(
    cast: Cast, provider: Provider, sql: Callable[..., None]
) -> None:
    map_group(actor=cast.principal(cast.root), group="r", environment=cast.development, role="reader")
    sign_in(Client(), provider, attributes=in_groups("r"))
    sql("UPDATE environments_app_membership SET source = '' WHERE source = 'saml'")
    assert not user_principal(User.objects.get(username=ALICE)).grants


def test_a_disabled_account_is_refused_and_that_is_recorded(
    cast: Cast, client: Client, provider: Provider, events: Events
) -> None:
    sign_in(Client(), provider)
    accounts.disable_user(actor=cast.principal(cast.root), user=User.objects.get(username=ALICE))
    response = sign_in(client, provider)
    assert response.status_code == 403
    assert who(client) is None
    assert events(Action.SIGN_IN)[-1].outcome == "denied"


def test_signing_out_asks_the_provider_to_end_its_session(
    cast: Cast, client: Client, provider: Provider
) -> None:
    sign_in(client, provider)
    page = client.post("/sign-out")
    assert who(client) is None
    onward = page.context["onward_url"]
    assert onward.startswith("https://idp.example.com/slo?")
    assert "Signature=" in onward
    assert read_logout(onward) == ALICE
    assert client.get("/saml/logout", {"SAMLResponse": "x"}).status_code == 200


def test_a_local_sign_out_stays_local(cast: Cast, client: Client) -> None:
    client.post("/sign-in", {"username": "alice", "password": PASSWORD})
    assert client.post("/sign-out")["Location"] == "/sign-in"


def test_the_metadata_is_signed_for_and_asks_for_signatures(cast: Cast, client: Client) -> None:
    text = client.get("/saml/metadata").content.decode()
    assert 'WantAssertionsSigned="true"' in text
    assert 'AuthnRequestsSigned="true"' in text
    assert f'Location="{PUBLIC}/saml/acs"' in text


def test_the_metadata_lists_the_accepted_algorithms_alone(cast: Cast, client: Client) -> None:
    root = ET.fromstring(client.get("/saml/metadata").content)
    listed = {each.attrib["Algorithm"] for each in root.iter() if "Algorithm" in each.attrib}
    assert {name.rpartition("#")[2] for name in listed} == {
        *(f"sha{bits}" for bits in (256, 384, 512)),
        *(f"{kind}-sha{bits}" for kind in ("rsa", "ecdsa") for bits in (256, 384, 512)),
    }


def test_the_session_ends_when_the_provider_says(cast: Cast, client: Client, provider: Provider) -> None:
    def ends(text: str) -> str:
        from tests.saml_idp.provider import at

        return text.replace(" SessionIndex=", f' SessionNotOnOrAfter="{at(120)}" SessionIndex=')

    follow(client, post(provider.respond(ask(client), before=ends)))
    assert who(client) == ALICE
    assert client.session.get_expiry_age() <= 120


def test_without_saml_there_is_nothing(cast: Cast, client: Client, settings: Settings) -> None:
    settings.KEEPER_SAML = False
    for path in ("/saml/start", "/saml/finish", "/saml/metadata", "/saml/logout"):
        assert client.get(path).status_code == 404
    assert client.post("/saml/acs", {}).status_code == 404
    assert b"single sign-on" not in client.get("/sign-in").content


def test_the_sign_in_page_offers_it(cast: Cast, client: Client) -> None:
    assert b'href="/saml/start?next=%2Fsecrets"' in client.get("/sign-in?next=/secrets").content


def test_the_provider_makes_no_account_called_as_keeper_itself(
    cast: Cast, client: Client, provider: Provider
) -> None:
    refused(sign_in(client, provider, name_id="System"), "saml-username")
    assert not User.objects.filter(username="system").exists()


def test_a_fresh_sign_in_is_asked_of_the_provider(
    cast: Cast, client: Client, provider: Provider, events: Events
) -> None:
    sign_in(client, provider)
    assert b'href="/saml/start?again=1' in client.get("/confirm").content
    response = client.get("/saml/start", {"again": "1", "next": "/profile"})
    assert read_request(response["Location"]).again
    answer = ask(client, again="1", next="/profile")
    assert follow(client, post(provider.respond(answer)))["Location"] == "/profile"
    assert len(events(Action.SESSION_CONFIRM)) == 1


def test_a_session_of_the_provider_that_is_old_is_no_fresh_proof(
    cast: Cast, client: Client, provider: Provider
) -> None:
    # Whoever finds a browser open could sign out and in again, and be asked for nothing.
    sign_in(client, provider, signed_in=-3600)
    assert who(client) == ALICE
    user = User.objects.get(username=ALICE)
    Membership.objects.create(environment=cast.development, user=user, role=Role.MANAGER)
    form = {"name": "ci", "role": "reader"}
    path = "/api/environments/development/tokens"
    asked = client.post(path, form, content_type="application/json")
    assert (asked.status_code, asked.json()["title"]) == (403, "Confirm your password")
    follow(client, post(provider.respond(ask(client, again="1"))))
    assert client.post(path, form, content_type="application/json").status_code == 201


@pytest.mark.parametrize("signed_in", [-3600, -90], ids=["an hour ago", "just before it was asked"])
def test_a_stale_or_foreign_answer_confirms_nobody(
    cast: Cast, client: Client, provider: Provider, events: Events, signed_in: int
) -> None:
    sign_in(client, provider)
    old = replace(ask(client, again="1"), signed_in=signed_in)
    refused(follow(client, post(provider.respond(old))), "saml-not-fresh")
    other = replace(ask(client, again="1"), name_id="bob.w@example.com")
    refused(follow(client, post(provider.respond(other))), "saml-other-person")
    assert who(client) == ALICE
    assert not events(Action.SESSION_CONFIRM)


def test_who_took_the_browser_over_answers_no_question_to_the_person_before(
    cast: Cast, client: Client, provider: Provider, events: Events
) -> None:
    sign_in(client, provider)
    asked = ask(client, again="1")
    bob = "bob.w@example.com"
    sign_in(Client(), provider, name_id=bob)
    # The session and the answer are bob's, the question was alice's.
    client.force_login(
        User.objects.get(username=bob), backend="environments_app.users.password_backend.LocalBackend"
    )
    refused(follow(client, post(provider.respond(replace(asked, name_id=bob)))), "saml-other-person")
    assert who(client) == bob
    assert not events(Action.SESSION_CONFIRM)


# --- What is refused -----------------------------------------------------------------------------


def refused(response: HttpResponse, reason: str) -> None:
    assert response.status_code == 403, response
    assert "Sign-in failed" in response.content.decode()
    assert RefusalCount.objects.filter(kind=reason).exists(), list(RefusalCount.objects.values_list("kind"))


def tampered(text: str) -> str:
    return text.replace(ALICE, "root@example.com")


OTHERS = "<saml:AudienceRestriction><saml:Audience>https://other.example.com</saml:Audience></saml:AudienceRestriction>"


def same_id(text: str, attribute: str) -> str:
    """Give a part of the assertion the assertion's id; its signature covers that as well."""
    found = re.search(r'<saml:Assertion ID="([^"]+)"', text)
    assert found
    return text.replace("<saml:AuthnContext>", f'<saml:AuthnContext {attribute}="{found[1]}">')


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "unsigned": ("saml-unsigned", {"sign": ()}),
    "only the assertion signed": ("saml-unsigned", {"sign": ("assertion",)}),
    "only the response signed": ("saml-unsigned", {"sign": ("response",)}),
    "tampered after signing": ("saml-signature", {"after": tampered}),
    "assertion tampered, response signed again": ("saml-signature", {"between": tampered}),
    "a comment in the name": ("saml-malformed", {"before": lambda text: text.replace("@example", "<!-- -->@example")}),
    "a comment in the name after signing": ("saml-malformed", {"after": lambda text: text.replace("@example", "<!-- -->@example")}),
    "a document type": ("saml-malformed", {"after": lambda text: "<!DOCTYPE samlp:Response>" + text}),
    "an entity": ("saml-malformed", {"after": lambda text: '<!DOCTYPE r [<!ENTITY x "y">]>' + text}),
    "an instruction": ("saml-malformed", {"after": lambda text: text.replace("<samlp:Status>", "<?x y?><samlp:Status>")}),
    "another encoding": ("saml-malformed", {"after": lambda text: '<?xml version="1.0" encoding="utf-16"?>' + text}),
    "a second restriction to others": ("saml-audience", {"before": lambda text: text.replace("</saml:Conditions>", f"{OTHERS}</saml:Conditions>")}),
    "a first restriction to others": ("saml-audience", {"before": lambda text: text.replace("<saml:AudienceRestriction>", f"{OTHERS}<saml:AudienceRestriction>", 1)}),
    "one id in two elements": ("saml-structure", {"before": lambda text: same_id(text, "ID")}),
    "one id in another spelling": ("saml-structure", {"before": lambda text: same_id(text, "AssertionID")}),
    "no XML": ("saml-malformed", {"after": lambda text: text[:-20]}),
    "oversize": ("saml-oversize", {"after": lambda text: text + " " * 300_000}),
    "no authentication statement": ("saml-structure", {"before": lambda text: text[: text.index("<saml:AuthnStatement")] + text[text.index("</saml:AuthnStatement>") + 22 :]}),
    "SHA-1": ("saml-signature", {"after": lambda text: text.replace("2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#rsa-sha1")}),
    "an HMAC": ("saml-signature", {"after": lambda text: text.replace("2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#hmac-sha1")}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_badly_made_answer_is_refused(cast: Cast, client: Client, provider: Provider, name: str) -> None:
    reason, making = WRONG[name]
    refused(post(provider.respond(ask(client), **making)), reason)
    assert not SamlAssertion.objects.exists()
    assert who(client) is None


SAID: dict[str, tuple[str, dict[str, Any]]] = {
    "no audience": ("saml-audience", {"audience": None}),
    "another audience": ("saml-audience", {"audience": "https://other.example.com"}),
    "no conditions": ("saml-conditions", {"conditions": False}),
    "another recipient": ("saml-recipient", {"recipient": "https://other.example.com/acs"}),
    "no recipient": ("saml-recipient", {"recipient": None}),
    "another destination": ("saml-destination", {"destination": "https://other.example.com/acs"}),
    "no destination": ("saml-destination", {"destination": None}),
    "no request": ("saml-unsolicited", {"request_id": None}),
    "a request that was not ours": ("saml-in-response-to", {"request_id": "id-1234567890"}),
    "an assertion for another request": ("saml-in-response-to", {"confirmed_request": "id-1234567890"}),
    "an assertion for no request": ("saml-in-response-to", {"confirmed_request": None}),
    "expired": ("saml-expired", {"ends": -120}),
    "issued long ago": ("saml-expired", {"issued": -3600}),
    "not yet valid": ("saml-future", {"begins": 240, "ends": 600}),
    "issued in the future": ("saml-future", {"issued": 600, "ends": 1200}),
    "proved in the future": ("saml-future", {"signed_in": 600}),
    "another issuer": ("saml-issuer", {"issuer": "https://other.example.com/saml"}),
    "an assertion of another issuer": ("saml-issuer", {"assertion_issuer": "https://other.example.com/saml"}),
    "a passing name": ("saml-name-id", {"name_id_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}),
    "no name": ("saml-name-id", {"name_id": ""}),
    "a failure": ("saml-status", {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_an_answer_that_says_the_wrong_thing_is_refused(
    cast: Cast, client: Client, provider: Provider, name: str
) -> None:
    reason, changes = SAID[name]
    refused(post(provider.respond(replace(ask(client), **changes))), reason)
    assert not SamlAssertion.objects.exists()
    assert who(client) is None


def test_what_pysaml2_verified_is_what_was_judged(
    cast: Cast, client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a parser of Keeper read another element than xmlsec1 verifies."""
    genuine = ask(client)
    other = provider.respond(replace(genuine, name_id="root@example.com"))
    judged = xml_document.read_response(other.encode())
    monkeypatch.setattr(djangosaml2_views, "read_response", lambda _document: judged)
    refused(post(provider.respond(genuine)), "saml-invalid")
    assert not SamlAssertion.objects.exists()


def test_an_assertion_that_a_clock_ahead_took_opens_nothing(
    cast: Cast, client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, real = provider.respond(ask(client)), timezone.now
    with monkeypatch.context() as patched:
        patched.setattr(timezone, "now", lambda: real() + timedelta(hours=1))
        answer = post(text)
    refused(follow(client, answer), "saml-replay")
    assert who(client) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrapped_signature_is_refused(cast: Cast, client: Client, provider: Provider, shape: str) -> None:
    genuine = provider.respond(ask(client))
    forged = SHAPES[shape](take_apart(genuine, "root"))
    assert "root" in forged
    response = post(forged)
    assert response.status_code == 403
    assert set(RefusalCount.objects.values_list("kind", flat=True)) <= {"saml-structure", "saml-signature"}
    assert not SamlAssertion.objects.exists()


def test_another_key_is_refused(cast: Cast, client: Client, stranger: Provider) -> None:
    # It also sends its own certificate along, which must not be believed.
    refused(post(stranger.respond(ask(client))), "saml-signature")


@pytest.mark.parametrize("text", ["", "%%%", "PHg+"])
def test_what_is_no_answer_is_refused(cast: Cast, client: Client, text: str) -> None:
    response: Any = client.post("/saml/acs", {"SAMLResponse": text})
    refused(response, "saml-malformed")


def test_a_replay_is_refused_in_the_same_browser(cast: Cast, client: Client, provider: Provider) -> None:
    text = provider.respond(ask(client))
    follow(client, post(text))
    client.post("/sign-out")
    refused(post(text), "saml-replay")


def test_another_assertion_for_the_same_request_is_refused(
    cast: Cast, client: Client, provider: Provider
) -> None:
    answer = ask(client)
    follow(client, post(provider.respond(answer)))
    refused(post(provider.respond(answer)), "saml-replay")


def test_another_browser_gets_nothing_of_it(cast: Cast, client: Client, provider: Provider) -> None:
    thief = Client()
    ask(thief)
    response = post(provider.respond(ask(client)))
    refused(follow(thief, response), "saml-other-browser")
    assert who(thief) is None
    # Nor does its owner then: it was used up.
    refused(follow(client, response), "saml-replay")


def test_the_next_step_opens_once(cast: Cast, client: Client, provider: Provider) -> None:
    response = post(provider.respond(ask(client)))
    assert follow(client, response).status_code == 302
    refused(follow(client, response), "saml-replay")
    refused(client.get("/saml/finish", {"handle": "x"}), "saml-replay")  # type: ignore[arg-type]


def test_a_planted_assertion_opens_nothing(
    cast: Cast, client: Client, provider: Provider, sql: Callable[..., None]
) -> None:
    response = post(provider.respond(ask(client)))
    sql("UPDATE environments_app_samlassertion SET statement = REPLACE(statement, %s, 'root')", ALICE)
    refused(follow(client, response), "saml-replay")


@pytest.mark.every_database
def test_only_one_of_many_parallel_replays_gets_in(
    transactional_db: None, cast: Cast, client: Client, provider: Provider
) -> None:
    text = provider.respond(ask(client))
    answers: list[int] = []
    gate = threading.Barrier(4)

    def replay() -> None:
        try:
            gate.wait()
            answers.append(post(text).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=replay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [302, 403, 403, 403]


@pytest.mark.parametrize("name", ["alice", "ALICE", "ａlice"])
def test_a_local_name_is_not_handed_over(cast: Cast, client: Client, provider: Provider, name: str) -> None:
    refused(sign_in(client, provider, name_id=name), "saml-name-taken")
    assert who(client) is None
    assert User.objects.get(username="alice").saml_issuer is None


def test_the_same_name_from_another_issuer_is_somebody_else(
    cast: Cast, client: Client, provider: Provider
) -> None:
    user = User(username="other", saml_issuer="https://other.example.com/saml", saml_name_id=ALICE)
    user.set_password(None)
    user.save()
    sign_in(client, provider)
    assert who(client) == ALICE


def test_the_name_of_another_issuers_account_is_not_handed_over(
    cast: Cast, client: Client, provider: Provider
) -> None:
    user = User(username=ALICE, saml_issuer="https://other.example.com/saml", saml_name_id=ALICE)
    user.set_password(None)
    user.save()
    refused(sign_in(client, provider), "saml-name-taken")


def test_a_request_that_is_too_old_is_not_answered(
    cast: Cast, client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ask(client)
    monkeypatch.setattr("environments_app.authentication.pending.LIFETIME_SECONDS", -1)
    refused(post(provider.respond(answer)), "saml-in-response-to")


def test_too_many_refusals_are_turned_away(
    cast: Cast, client: Client, provider: Provider, settings: Settings, one_minute: None
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    for _ in range(2):
        client.post("/saml/acs", {"SAMLResponse": "%%"})
    assert post(provider.respond(replace(_answer(), request_id="x"))).status_code == 429


def _answer() -> Answer:
    return Answer(request_id="x", acs=f"{PUBLIC}/saml/acs", audience=AUDIENCE)


def test_no_log_holds_an_answer(
    cast: Cast, client: Client, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    with caplog.at_level(logging.DEBUG):
        sign_in(client, provider, attributes=in_groups("a-group-of-alice"))
        post(provider.respond(ask(Client()), after=tampered))
    assert "a-group-of-alice" not in caplog.text
    assert "SignatureValue" not in caplog.text


def test_without_metadata_it_says_so(cast: Cast, client: Client, settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_SAML_METADATA_FILE = str(tmp_path / "none.xml")
    assert client.get("/saml/start").status_code == 503
    broken = tmp_path / "broken.xml"
    broken.write_text("<x/>")
    settings.KEEPER_SAML_METADATA_FILE = str(broken)
    assert client.get("/saml/start").status_code == 503


def test_metadata_whose_time_is_over_is_believed_no_longer(
    cast: Cast, client: Client, provider: Provider, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = (timezone.now() + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = provider.metadata().replace("entityID=", f'validUntil="{soon}" entityID=', 1)
    (keys / "metadata.xml").write_text(document)
    answer = provider.respond(ask(client))
    # It is loaded by now, and is not loaded anew.
    later = timezone.now() + timedelta(minutes=6)
    monkeypatch.setattr("environments_app.saml.metadata.timezone", SimpleNamespace(now=lambda: later))
    assert client.get("/saml/start").status_code == 503
    response = post(answer)
    assert (response.status_code, b"valid until" in response.content) == (503, True)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    connections.close_all()


# --- A logout that begins at the provider -----------------------------------------------------------

SLO = f"{PUBLIC}/saml/logout"


def test_a_logout_at_the_provider_ends_the_session_that_it_names(
    cast: Cast, provider: Provider, events: Events
) -> None:
    named, other, bystander = Client(), Client(), Client()
    sign_in(named, provider, session_index="one")
    sign_in(other, provider, session_index="two")
    sign_in(bystander, provider, name_id="bob.w@example.com", session_index="one")
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=["one"], request_id="l-1")
    # In a browser that has no cookie of Keeper's: it ends wherever it is open.
    answer = Client().get(f"/saml/logout?{provider.logout(asked)}")
    assert (who(named), who(other), who(bystander)) == (None, ALICE, "bob.w@example.com")
    assert answer["Location"].startswith("https://idp.example.com/slo?")
    success = "urn:oasis:names:tc:SAML:2.0:status:Success"
    assert read_logout_response(answer["Location"]) == ("l-1", success, "state of the provider", True)
    (event,) = events(Action.SESSION_END)
    assert (event.object_name, event.actor_kind) == (ALICE, "system")
    assert '"sessions":1' in event.details


@pytest.mark.parametrize(
    ("indexes", "signs_in"), [((), False), (("session-1",), False), (("session-2",), True)]
)
def test_a_logout_ends_a_session_whose_answer_came_before_and_that_begins_after_it(
    cast: Cast, client: Client, provider: Provider, indexes: tuple[str, ...], *, signs_in: bool
) -> None:
    sign_in(Client(), provider)
    answered = post(provider.respond(ask(client)))
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=indexes)
    assert Client().get(f"/saml/logout?{provider.logout(asked)}").status_code == 302
    finished = follow(client, answered)
    assert (who(client) == ALICE) is signs_in
    if not signs_in:
        refused(finished, "saml-session-ended")
        # One that begins after it is another one.
        sign_in(client, provider)
        assert who(client) == ALICE


@pytest.mark.parametrize(("bits", "ends"), [(224, False), (256, True), (384, True), (512, True)])
def test_a_logout_is_signed_by_one_of_the_listed_methods(
    cast: Cast, client: Client, provider: Provider, bits: int, ends: bool
) -> None:
    sign_in(client, provider, session_index="0")
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=["0"])
    answer = Client().get(f"/saml/logout?{provider.logout(asked, bits=bits)}")
    assert (answer.status_code == 302, who(client)) == (ends, None if ends else ALICE)


@pytest.mark.parametrize(("indexes", "ends"), [(["0"], False), ([], True)])
def test_a_logout_of_all_sessions_ends_personal_tokens(
    cast: Cast, provider: Provider, indexes: list[str], ends: bool
) -> None:
    sign_in(Client(), provider, session_index="0")
    token, _ = issue_personal(actor=cast.principal(User.objects.get(username=ALICE)), name="laptop")
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=indexes)
    assert Client().get(f"/saml/logout?{provider.logout(asked)}").status_code == 302
    token.refresh_from_db()
    assert (token.revoked_at is not None, token.is_authentic()) == (ends, True)


def test_a_logout_ends_a_session_that_the_provider_gave_no_index(cast: Cast, provider: Provider) -> None:
    nameless, other = Client(), Client()
    sign_in(nameless, provider, session_index="")
    sign_in(other, provider, session_index="two")
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=["one"])
    assert Client().get(f"/saml/logout?{provider.logout(asked)}").status_code == 302
    assert (who(nameless), who(other)) == (None, ALICE)


def test_an_address_signs_nobody_out(cast: Cast, client: Client, provider: Provider) -> None:
    assert "You are signed out" in client.get("/saml/logout?SAMLResponse=x").content.decode()
    sign_in(client, provider)
    for query in ("", "?SAMLResponse=x"):
        answer = client.get(f"/saml/logout{query}")
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert who(client) == ALICE


def test_a_logout_without_an_index_ends_all_of_a_person(cast: Cast, provider: Provider) -> None:
    browsers = [Client(), Client()]
    for number, browser in enumerate(browsers):
        sign_in(browser, provider, session_index=str(number))
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=[])
    # Also in one of them, whose own session ends under it.
    assert browsers[0].get(f"/saml/logout?{provider.logout(asked)}").status_code == 302
    assert [who(browser) for browser in browsers] == [None, None]


def test_a_logout_ends_no_session_that_the_provider_did_not_open(
    cast: Cast, client: Client, provider: Provider, signed_in: Callable[[User], Client]
) -> None:
    sign_in(client, provider)
    local = signed_in(User.objects.get(username=ALICE))
    Client().get(
        f"/saml/logout?{provider.logout(Logout(destination=SLO, name_id=ALICE, session_indexes=[]))}"
    )
    assert (who(client), who(local)) == (None, ALICE)
    unknown = Logout(destination=SLO, name_id="nobody@example.com")
    assert Client().get(f"/saml/logout?{provider.logout(unknown)}").status_code == 302


LOGOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"issuer": "https://other.example.com"}, "saml-issuer"),
    "another address": ({"destination": f"{PUBLIC}/saml/acs"}, "saml-destination"),
    "no address": ({"destination": None}, "saml-destination"),
    "too old": ({"issued": -600}, "saml-expired"),
    "in the future": ({"issued": 600}, "saml-future"),
    "over": ({"ends": -120}, "saml-expired"),
    "nobody": ({"name_id": ""}, "saml-structure"),
}


def test_a_logout_that_says_the_wrong_thing_ends_nothing(
    cast: Cast, client: Client, provider: Provider
) -> None:
    sign_in(client, provider)
    for name, (changes, reason) in LOGOUTS.items():
        asked = replace(Logout(destination=SLO, name_id=ALICE, session_indexes=[]), **changes)
        refused_logout(client, provider.logout(asked), reason, name)


def refused_logout(client: Client, query: str, reason: str, name: str = "") -> None:
    RefusalCount.objects.all().delete()
    response = Client().get(f"/saml/logout?{query}")
    assert response.status_code == 403, name
    assert "Location" not in response, name
    assert who(client) == ALICE, name
    assert [row.kind for row in RefusalCount.objects.all()] == [reason], name


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "unsigned": (lambda query: query.partition("&Signature=")[0], "saml-unsigned"),
    "empty signature": (lambda query: query.partition("&Signature=")[0] + "&Signature=", "saml-unsigned"),
    "no method": (lambda query: query.replace("SigAlg=", "Other="), "saml-unsigned"),
    "sha-1": (lambda query: query.replace("rsa-sha256", "rsa-sha1"), "saml-signature"),
    "other state": (lambda query: query.replace("state+of", "state+0f"), "saml-signature"),
    "state taken away": (
        lambda query: query.replace("&RelayState=state+of+the+provider", ""), "saml-signature"
    ),
    "twice": (lambda query: f"{query}&SAMLRequest=x", "saml-malformed"),
    "two at once": (lambda query: f"{query}&SAMLResponse=x", "saml-malformed"),
    "other bytes": (lambda query: query.replace("SAMLRequest=", "SAMLRequest=A", 1), "saml-signature"),
}  # fmt: skip


def test_a_logout_whose_signature_does_not_hold_ends_nothing(
    cast: Cast, client: Client, provider: Provider
) -> None:
    sign_in(client, provider)
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=[])
    for name, (change, reason) in BROKEN.items():
        refused_logout(client, change(provider.logout(asked)), reason, name)


def test_a_logout_by_another_key_or_used_before_ends_nothing(
    cast: Cast, client: Client, provider: Provider, stranger: Provider
) -> None:
    asked = Logout(destination=SLO, name_id=ALICE, session_indexes=[])
    query = provider.logout(asked)
    assert Client().get(f"/saml/logout?{query}").status_code == 302
    sign_in(client, provider)
    refused_logout(client, query, "saml-replay")
    refused_logout(client, stranger.logout(asked), "saml-signature")
    doctype = provider.logout(asked, before=lambda text: f"<!DOCTYPE x>{text}")
    refused_logout(client, doctype, "saml-malformed")
    bomb = provider.logout(
        asked, before=lambda text: text.replace("<saml:Issuer>", " " * 200_000 + "<saml:Issuer>")
    )
    refused_logout(client, bomb, "saml-oversize")


def test_a_person_connects_it_to_an_account_that_has_a_password(cast: Cast, provider: Provider) -> None:
    client = Client()
    client.post("/sign-in", {"username": "alice", "password": PASSWORD})
    asked = read_request(client.get("/saml/start", {"connect": "1"})["Location"])
    # The provider asks for the credentials, also of who is signed in there.
    assert asked.again
    given = Answer(request_id=asked.id, acs=asked.acs, audience=asked.issuer, name_id="somebody@example.com")
    assert follow(client, post(provider.respond(given)))["Location"] == "/profile/sign-ins/connect"
    assert client.post("/profile/sign-ins/connect")["Location"] == "/profile#sign-ins"
    other = Client()
    sign_in(other, provider, name_id="somebody@example.com")
    assert who(other) == "alice"
