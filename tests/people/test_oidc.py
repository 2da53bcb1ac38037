"""Signing in by OpenID Connect, and every way in which an answer can be wrong."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.authentication.sign_in import start_provider_session
from environments_app.authorization.principals import user_principal
from environments_app.models import Membership, OidcProvider, Role, Session, UsedJwt, User
from environments_app.oidc import discovery, providers
from environments_app.oidc.id_tokens import LOGOUT_EVENT
from environments_app.single_sign_on import answers
from environments_app.single_sign_on.group_mapping import apply_groups, map_group
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.personal import issue_personal
from environments_app.trusts.key_source import forget_keys
from environments_app.users import accounts
from tests.oidc_issuer.server import (
    CLIENT,
    SECRET,
    Asked,
    Attempt,
    Issuer,
    ec_key,
    half_hash,
    read_asked,
    rsa_key,
    serving,
    sign,
)

pytestmark = pytest.mark.every_database_weekly

PUBLIC = "http://testserver"
TENANT = "11111111-2222-3333-4444-555555555555"
ENTRA = f"https://login.microsoftonline.com/{TENANT}/v2.0"
Events = Callable[..., list[AuditEvent]]


@pytest.fixture(scope="module")
def served() -> Iterator[Issuer]:
    with serving() as issuer:
        yield issuer


@pytest.fixture
def issuer(served: Issuer) -> Issuer:
    served.__init__(served.base)  # type: ignore[misc]  # as it began
    forget_keys()
    return served


@pytest.fixture(autouse=True)
def _allowed(settings: Settings) -> None:
    settings.KEEPER_URL = PUBLIC
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    settings.KEEPER_REFUSALS_PER_MINUTE = 1000


def add(cast: Cast, issuer: Issuer, slug: str = "acme", **fields: Any) -> OidcProvider:
    settings = {"label": "Acme", "client_id": CLIENT, "groups_claim": "groups", **fields}
    return providers.create_provider(
        actor=user_principal(cast.root).proven(), slug=slug, issuer=issuer.name, secret=SECRET, **settings
    )


@pytest.fixture
def provider(cast: Cast, issuer: Issuer) -> OidcProvider:
    return add(cast, issuer)


def ask(client: Client, slug: str = "acme", **query: str) -> Asked:
    response = client.get(f"/oidc/{slug}/start", query)
    assert response.status_code == 302, response.content
    return read_asked(response["Location"])


def answer(client: Client, query: dict[str, Any], slug: str = "acme") -> HttpResponse:
    return client.get(f"/oidc/{slug}/callback", query)  # type: ignore[return-value]


def sign_in(client: Client, issuer: Issuer, slug: str = "acme", **claims: Any) -> HttpResponse:
    return answer(client, issuer.accept(issuer.attempt(ask(client, slug), **claims)), slug)


def who(client: Client) -> str | None:
    response = client.get("/api/whoami")
    return str(response.json()["name"]) if response.status_code == 200 else None


def refusals() -> list[str]:
    rows = RefusalCount.objects.filter(kind__startswith="oidc-").order_by("pk")
    return list(rows.values_list("kind", flat=True))


def test_a_person_signs_in_and_gets_an_account(
    provider: OidcProvider, issuer: Issuer, events: Events
) -> None:
    client = Client()
    asked = ask(client, next="/secrets")
    assert asked.query["code_challenge_method"] == "S256"
    assert asked.query["redirect_uri"] == f"{PUBLIC}/oidc/acme/callback"
    response = answer(client, issuer.accept(issuer.attempt(asked)))
    assert (response.status_code, response["Location"]) == (302, "/secrets")
    user = User.objects.get(username="dora")
    assert (user.saml_issuer, user.saml_name_id) == ("oidc:acme", "sub-of-dora")
    assert (user.email, user.display_name, user.has_usable_password()) == (
        "dora@example.com", "Dora Example", False,
    )  # fmt: skip
    assert who(client) == "dora"
    assert '"how":"oidc"' in events(Action.SIGN_IN)[-1].details
    # The same subject is the same account, whatever it calls itself now.
    sign_in(Client(), issuer, preferred_username="alice", name="Dora E.")
    assert User.objects.get(saml_name_id="sub-of-dora").username == "dora"


def test_several_providers_at_once_keep_their_people_apart(cast: Cast, issuer: Issuer) -> None:
    with serving() as other:
        add(cast, issuer)
        add(cast, other, slug="globex", label="Globex")
        page = Client().get("/sign-in").content.decode()
        assert "Sign in with Acme" in page
        assert "/oidc/globex/start" in page
        sign_in(Client(), issuer)
        # The same subject of another provider is another person, and its name is taken.
        response = sign_in(Client(), other, slug="globex")
        assert response.status_code == 403
        assert refusals() == ["oidc-name-taken"]
        client = Client()
        sign_in(client, other, slug="globex", preferred_username="dora-globex")
        assert who(client) == "dora-globex"


def test_groups_count_with_the_provider_that_sent_them(
    cast: Cast, provider: OidcProvider, issuer: Issuer
) -> None:
    root = user_principal(cast.root).proven()
    map_group(actor=root, group="engineers", environment=cast.development, role=Role.READER)
    sign_in(Client(), issuer)
    assert not Membership.objects.filter(user__username="dora").exists()
    map_group(
        actor=root, group="engineers", environment=cast.development, role=Role.VIEWER, provider=provider
    )
    sign_in(Client(), issuer)
    assert Membership.objects.get(user__username="dora").role == Role.VIEWER
    sign_in(Client(), issuer, groups=[])
    assert not Membership.objects.filter(user__username="dora").exists()


def test_what_the_id_token_leaves_out_comes_from_userinfo(provider: OidcProvider, issuer: Issuer) -> None:
    attempt = issuer.attempt(ask(client := Client()))
    for name in ("preferred_username", "email", "email_verified", "name", "groups"):
        attempt.claims.pop(name)
    attempt.userinfo = {
        "sub": "sub-of-dora", "preferred_username": "dora", "email": "d@example.com", "email_verified": True,
        "iss": "https://elsewhere.example", "hd": "example.com",
    }  # fmt: skip
    answer(client, issuer.accept(attempt))
    assert who(client) == "dora"
    assert User.objects.get(username="dora").email == "d@example.com"


def test_an_address_that_is_not_verified_is_not_stored(provider: OidcProvider, issuer: Issuer) -> None:
    sign_in(Client(), issuer, email_verified=False)
    assert User.objects.get(username="dora").email == ""


def test_an_email_or_a_name_matches_no_account(cast: Cast, provider: OidcProvider, issuer: Issuer) -> None:
    User.objects.filter(pk=cast.alice.pk).update(email="alice@example.com")
    response = sign_in(Client(), issuer, preferred_username="dora", email="alice@example.com")
    assert response.status_code == 302
    assert User.objects.get(saml_name_id="sub-of-dora").username == "dora"
    for name in ("alice", "ALICE"):
        sign_in(Client(), issuer, sub="another", preferred_username=name)
    assert refusals()[-1] == "oidc-name-taken"


def test_the_secret_is_sent_as_the_provider_is_told(cast: Cast, issuer: Issuer) -> None:
    add(cast, issuer, client_auth="client_secret_post")
    sign_in(client := Client(), issuer)
    assert who(client) == "dora"


def test_an_elliptic_key_and_a_rotated_one_are_found(cast: Cast, issuer: Issuer) -> None:
    issuer.keys = [ec_key("ec")]
    add(cast, issuer, algorithm="ES256")
    attempt = issuer.attempt(ask(client := Client()))
    attempt.header, attempt.key = {"alg": "ES256", "kid": "ec"}, ec_key("ec")
    answer(client, issuer.accept(attempt))
    assert who(client) == "dora"


# --- What is refused -------------------------------------------------------------------------------


def claim(**values: Any) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.claims.update(values)


def without(name: str) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.claims.pop(name) and None


def header(**values: Any) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.header.update(values)


def query(**values: Any) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.query.update(values)


def body(content: bytes, status: int = 200, **headers: str) -> Callable[[Attempt], None]:
    def change(attempt: Attempt) -> None:
        attempt.body, attempt.status, attempt.headers = content, status, headers

    return change


def token(make: Callable[[Attempt], str]) -> Callable[[Attempt], None]:
    def change(attempt: Attempt) -> None:
        attempt.id_token = make(attempt)

    return change


def _unsigned(attempt: Attempt) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "kid": "one"}, attempt.claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def _by_public_key(attempt: Attempt) -> str:
    public = rsa_key("one").as_pem(private=False)
    return sign({"alg": "HS256", "kid": "one"}, attempt.claims, public)


def _by_secret(attempt: Attempt) -> str:
    return sign({"alg": "HS256", "kid": "one"}, attempt.claims, SECRET.encode())


def _twice(attempt: Attempt) -> str:
    text = json.dumps(attempt.claims)
    return sign(attempt.header, text[:-1] + ', "sub": "sub-of-root"}', rsa_key("one"))


def _other_body(attempt: Attempt) -> str:
    head, _, signature = attempt.token().split(".")
    claims = json.dumps({**attempt.claims, "sub": "sub-of-root"}).encode()
    return ".".join([head, base64.urlsafe_b64encode(claims).rstrip(b"=").decode(), signature])


def _userinfo(answer: dict[str, Any] | None) -> Callable[[Attempt], None]:
    def change(attempt: Attempt) -> None:
        attempt.claims.pop("groups")
        attempt.userinfo = answer

    return change


def _unsendable(attempt: Attempt) -> None:
    _userinfo({"sub": "sub-of-dora"})(attempt)
    attempt.claims.pop("at_hash")
    attempt.access_token = "tökén☃"


def ago(seconds: int) -> int:
    return int(time.time()) - seconds


# The kind, what is wrong, and how an honest answer is made so.
HOSTILE: list[tuple[str, str, Callable[[Attempt], Any]]] = [
    ("oidc-issuer", "another issuer", claim(iss="https://evil.example")),
    ("oidc-issuer", "no issuer", without("iss")),
    ("oidc-issuer", "an issuer with a slash", lambda a: a.claims.update(iss=a.claims["iss"] + "/")),
    ("oidc-issuer", "a list of issuers", lambda a: a.claims.update(iss=[a.claims["iss"]])),
    ("oidc-audience", "another audience", claim(aud="other")),
    ("oidc-audience", "no audience", without("aud")),
    ("oidc-audience", "an audience among others", claim(aud=[CLIENT, "other"])),
    ("oidc-audience", "an audience in other case", claim(aud=CLIENT.upper())),
    ("oidc-azp", "a token of another client", claim(azp="other")),
    ("oidc-azp", "an azp that is empty", claim(azp="")),
    ("oidc-malformed", "no signature", token(_unsigned)),
    ("oidc-algorithm", "HS256 by the public key", token(_by_public_key)),
    ("oidc-algorithm", "HS256 by the client secret", token(_by_secret)),
    ("oidc-algorithm", "another algorithm of the same key", header(alg="RS384")),
    ("oidc-no-kid", "no key id", lambda a: a.header.pop("kid")),
    ("oidc-unknown-key", "an unknown key id", header(kid="two")),
    ("oidc-signature", "another key of the same id", lambda a: setattr(a, "key", rsa_key("stranger"))),
    ("oidc-signature", "claims under the signature of others", token(_other_body)),
    ("oidc-header", "a critical header", header(crit=["exp"])),
    ("oidc-header", "an access token in its place", header(typ="at+jwt")),
    ("oidc-header", "a logout token in its place", header(typ="logout+jwt")),
    ("oidc-header", "a nested token", header(cty="JWT")),
    ("oidc-duplicate-claim", "a claim twice", token(_twice)),
    ("oidc-malformed", "no token", token(lambda _a: "not.a.token!")),
    ("oidc-malformed", "an encrypted token", token(lambda _a: "a.b.c.d.e")),
    ("oidc-too-large", "a token of 17 KiB", claim(filler="x" * 17_000)),
    ("oidc-nonce", "no nonce", without("nonce")),
    ("oidc-nonce", "another nonce", claim(nonce="another-nonce-than-ours")),
    ("oidc-nonce", "a nonce in a list", lambda a: a.claims.update(nonce=[a.claims["nonce"]])),
    ("oidc-at-hash", "the hash of another access token", claim(at_hash=half_hash("another"))),
    ("oidc-at-hash", "no text as hash", claim(at_hash=None)),
    ("oidc-expired", "expired", lambda a: a.claims.update(exp=ago(60))),
    ("oidc-expired", "no expiry", without("exp")),
    ("oidc-expired", "an expiry as text", claim(exp="9999999999")),
    ("oidc-too-old", "issued 20 minutes ago", lambda a: a.claims.update(iat=ago(1200))),
    ("oidc-not-yet-valid", "issued in the future", lambda a: a.claims.update(iat=ago(-600))),
    ("oidc-not-yet-valid", "no time of issue", without("iat")),
    ("oidc-not-yet-valid", "not before later", lambda a: a.claims.update(nbf=ago(-600))),
    ("oidc-subject", "no subject", without("sub")),
    ("oidc-subject", "an empty subject", claim(sub="")),
    ("oidc-subject", "a subject that is no text", claim(sub=7)),
    ("oidc-subject", "a subject of 256 characters", claim(sub="x" * 256)),
    ("oidc-auth-time", "a time of sign-in as text", claim(auth_time="yesterday")),
    ("oidc-auth-time", "a time of sign-in to come", lambda a: a.claims.update(auth_time=ago(-120))),
    ("oidc-sid", "a session of 201 characters", claim(sid="x" * 201)),
    ("oidc-sid", "a session that is no text", claim(sid=7)),
    ("oidc-sid", "a session without a name", claim(sid="")),
    ("oidc-malformed", "half a character as subject", claim(sub="\ud800")),
    ("oidc-malformed", "half a character as session", claim(sid="\ud800")),
    ("oidc-malformed", "half a character as nonce", claim(nonce="\udfff")),
    ("oidc-malformed", "half a character as name of a claim", claim(**{"\ud800": "x"})),
    ("oidc-userinfo", "half a character in userinfo", _userinfo({"sub": "sub-of-dora", "groups": ["\ud800"]})),
    ("oidc-token", "an access token that no header can hold", _unsendable),
    ("oidc-groups-unknown", "groups left out by hasgroups", lambda a: (a.claims.pop("groups"), a.claims.update(hasgroups=True))),
    ("oidc-groups-unknown", "groups elsewhere", lambda a: (a.claims.pop("groups"), a.claims.update(_claim_names={"groups": "src1"}))),
    ("oidc-groups-unknown", "groups by groups:src1", lambda a: a.claims.update({"groups:src1": "x"})),
    ("oidc-groups-unknown", "groups that are an object", claim(groups={"a": 1})),
    ("oidc-groups-unknown", "groups that are numbers", claim(groups=[1])),
    ("oidc-groups-unknown", "groups left out by userinfo", _userinfo({"sub": "sub-of-dora", "hasgroups": True})),
    ("oidc-userinfo", "userinfo of another person", _userinfo({"sub": "sub-of-root", "groups": ["admins"]})),
    ("oidc-userinfo", "userinfo of nobody", _userinfo({"groups": ["admins"]})),
    ("oidc-mix-up", "another issuer in the answer", query(iss="https://evil.example")),
    ("oidc-mix-up", "no issuer in the answer", lambda a: a.query.pop("iss")),
    ("oidc-state", "another state", query(state="k" + "0" * 32 + ".1." + "0" * 40)),
    ("oidc-state", "no state", lambda a: a.query.pop("state")),
    ("oidc-denied", "the person said no", query(error="access_denied")),
    ("oidc-denied", "the provider would have to ask", query(error="login_required")),
    ("oidc-provider", "an error of the provider", query(error="server_error")),
    ("oidc-provider", "an error with foreign text", query(error="<script>alert(1)</script>")),
    ("oidc-malformed", "an ID token in the answer", query(id_token="x.y.z")),
    ("oidc-malformed", "an access token in the answer", query(access_token="x")),
    ("oidc-malformed", "two states", lambda a: a.query.update(state=[a.query["state"], "x"])),
    ("oidc-no-code", "no code", query(code="")),
    ("oidc-token", "a code that is another's", query(code="guessed")),
    ("oidc-token", "PKCE of another request", lambda a: setattr(a, "challenge", "another")),
    ("oidc-token", "a redirect", body(b"", 302, Location="http://127.0.0.1/elsewhere")),
    ("oidc-token", "no JSON", body(b"<html>")),
    ("oidc-token", "a list", body(b"[]")),
    ("oidc-token", "no ID token", body(b'{"access_token": "x"}')),
    ("oidc-token", "no access token", body(b'{"id_token": "x.y.z"}')),
    ("oidc-token", "one name twice", body(b'{"id_token": "x", "id_token": "y", "access_token": "z"}')),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "change"), [(k, c) for k, _, c in HOSTILE], ids=[what for _, what, _ in HOSTILE]
)
def test_a_hostile_answer_is_refused_by_its_kind(
    provider: OidcProvider,
    issuer: Issuer,
    kind: str,
    change: Callable[[Attempt], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()
    attempt = issuer.attempt(ask(client))
    change(attempt)
    response = answer(client, issuer.accept(attempt))
    assert (response.status_code, refusals()) == (403, [kind])
    assert who(client) is None
    assert not User.objects.filter(saml_issuer="oidc:acme").exists()
    provider.refresh_from_db()
    assert provider.last_refusal == kind
    # No text of a token, of a provider or of an answer is shown or logged.
    seen = caplog.text + response.content.decode()
    for text in (attempt.access_token, attempt.claims.get("nonce"), "sub-of-dora", "<script>"):
        assert not isinstance(text, str) or text not in seen


def test_every_kind_of_hostile_answer_is_played() -> None:
    assert len(HOSTILE) >= 60
    assert len({what for _, what, _ in HOSTILE}) == len(HOSTILE)


def row(cast: Cast, issuer: Issuer, name: str, **fields: Any) -> OidcProvider:
    """Store a provider whose issuer is a company's, with the addresses of the test's server."""
    provider = add(cast, issuer)
    issuer.name = name
    document = json.loads(provider.document) | {"issuer": name}
    provider.issuer, provider.document = name, json.dumps(document)
    for field, value in fields.items():
        setattr(provider, field, value)
    provider.save()
    return provider


OF_COMPANIES: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    ("oidc-tenant", "another tenant", ENTRA, {}, {"tid": "22222222-2222-3333-4444-555555555555"}),
    ("oidc-tenant", "no tenant", ENTRA, {}, {}),
    ("oidc-guest", "a guest", ENTRA, {}, {"tid": TENANT, "idp": "https://sts.windows.net/other/"}),
    ("", "a guest who may", ENTRA, {"allows_guests": True}, {"tid": TENANT, "idp": "live.com"}),
    ("", "a member", ENTRA, {}, {"tid": TENANT}),
    ("oidc-not-member", "no hosted domain", "https://accounts.google.com", {"required_claims": {"hd": ["example.com"]}}, {}),
    ("oidc-not-member", "another hosted domain", "https://accounts.google.com", {"required_claims": {"hd": ["example.com"]}}, {"hd": "evil.example"}),
    ("", "the hosted domain", "https://accounts.google.com", {"required_claims": {"hd": ["a.example", "example.com"]}}, {"hd": "example.com"}),
    ("oidc-groups-unknown", "100 groups of Okta", "https://acme.okta.com", {}, {"groups": [f"g{n}" for n in range(100)]}),
    ("", "99 groups of Okta", "https://acme.okta.com", {}, {"groups": [f"g{n}" for n in range(99)]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "what", "name", "fields", "claims"), OF_COMPANIES, ids=[each[1] for each in OF_COMPANIES]
)
def test_the_rules_of_a_company_s_provider(
    cast: Cast,
    issuer: Issuer,
    kind: str,
    what: str,
    name: str,
    fields: dict[str, Any],
    claims: dict[str, Any],
) -> None:
    row(cast, issuer, name, **fields)
    client = Client()
    sign_in(client, issuer, **claims)
    assert refusals() == ([kind] if kind else [])
    assert who(client) == (None if kind else "dora")


def test_an_answer_opens_no_other_browser_and_nothing_twice(provider: OidcProvider, issuer: Issuer) -> None:
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client)))
    assert answer(Client(), honest).status_code == 403
    assert refusals() == ["oidc-other-browser"]
    # The other browser used nothing up.
    saved = client.cookies["keeper_oidc"].value
    assert answer(client, honest).status_code == 302
    again = Client()
    again.cookies["keeper_oidc"] = saved
    assert answer(again, honest).status_code == 403
    assert refusals()[-1] == "oidc-replayed"
    assert who(again) is None


def test_a_state_of_another_provider_is_none_of_this_one_s(cast: Cast, issuer: Issuer) -> None:
    add(cast, issuer)
    add(cast, issuer, slug="globex", label="Globex")
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client, "globex")))
    assert answer(client, honest, "acme").status_code == 403
    assert refusals() == ["oidc-state"]


def test_an_answer_that_comes_too_late_is_refused(
    provider: OidcProvider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client)))
    monkeypatch.setattr("environments_app.authentication.pending.LIFETIME_SECONDS", -1)
    assert answer(client, honest).status_code == 403
    assert refusals() == ["oidc-state"]


@pytest.mark.parametrize("content", [b"x" * (20 << 20), b""], ids=["20 MiB", "500"])
def test_an_endpoint_that_cannot_be_used_is_not_believed(
    provider: OidcProvider, issuer: Issuer, content: bytes
) -> None:
    client = Client()
    attempt = issuer.attempt(ask(client))
    attempt.body, attempt.status = content, 200 if content else 500
    assert answer(client, issuer.accept(attempt)).status_code == 503
    assert who(client) is None


def test_who_comes_while_enough_wait_for_the_provider_is_answered_at_once(
    provider: OidcProvider, issuer: Issuer
) -> None:
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client)))
    asked = len(issuer.asked)
    with ExitStack() as waiting:
        for _ in range(discovery.AT_ONCE):
            waiting.enter_context(discovery.limit_waiting(issuer.name))
        response = answer(client, honest)
        # Signing in begins without the provider.
        ask(Client())
    assert response.status_code == 503
    assert "Try again in some seconds" in response.content.decode()
    assert len(issuer.asked) == asked
    # Nothing was used up: the page is loaded again.
    assert answer(client, honest).status_code == 302


def test_all_requests_of_an_answer_have_one_deadline(
    provider: OidcProvider, issuer: Issuer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The keys are known then.
    signed_in(issuer)
    settings.KEEPER_OUTBOUND_SECONDS = 3.0
    described, over = issuer.described, Event()

    def slow(authorization: str) -> Any:
        over.wait(20)
        return described(authorization)

    client, began = Client(), time.monotonic()
    attempt = issuer.attempt(ask(client))
    attempt.userinfo = {"sub": attempt.claims["sub"], "groups": attempt.claims.pop("groups")}
    issuer.meanwhile = lambda: over.wait(2)
    monkeypatch.setattr(issuer, "described", slow)
    try:
        assert answer(client, issuer.accept(attempt)).status_code == 503
        assert 2.5 < time.monotonic() - began < 4.5
    finally:
        over.set()
    assert who(client) is None


def test_a_post_and_an_unknown_provider_are_answered_without_a_word(provider: OidcProvider) -> None:
    assert Client().post("/oidc/acme/callback", {}).status_code == 405
    for path in ("start", "callback", "signed-out", "front-channel-logout"):
        assert Client().get(f"/oidc/nobody/{path}").status_code == 404
    assert Client().post("/oidc/nobody/back-channel-logout").status_code == 404


# --- What happens meanwhile ------------------------------------------------------------------------


def _disable_provider(cast: Cast, provider: OidcProvider) -> None:
    providers.change_provider(actor=user_principal(cast.root).proven(), provider=provider, enabled=False)


def _change_claims(cast: Cast, provider: OidcProvider) -> None:
    providers.change_provider(
        actor=user_principal(cast.root).proven(), provider=provider, required_claims={"hd": ["example.com"]}
    )


def _disable_account(cast: Cast, provider: OidcProvider) -> None:
    user = User.objects.get(username="dora")
    accounts.disable_user(actor=user_principal(cast.root).proven(), user=user)


MEANWHILE = [
    ("the provider is disabled", _disable_provider, "oidc-provider-changed"),
    ("the provider's rules change", _change_claims, "oidc-provider-changed"),
    ("the account is disabled", _disable_account, "oidc-account"),
]


@pytest.mark.parametrize(
    ("act", "kind"), [each[1:] for each in MEANWHILE], ids=[each[0] for each in MEANWHILE]
)
@pytest.mark.parametrize("when", ["before the answer", "while the code is exchanged"])
def test_what_happens_before_the_answer_counts(
    cast: Cast,
    provider: OidcProvider,
    issuer: Issuer,
    act: Callable[[Cast, OidcProvider], None],
    kind: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sign_in(Client(), issuer)
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client)))
    if when == "before the answer":
        act(cast, provider)
    else:
        # In the thread of the request, as its database is.
        ask_token = "environments_app.oidc.exchange.answer_of"

        exchanged = discovery.answer_of

        def late(*arguments: Any, **options: Any) -> Any:
            response = exchanged(*arguments, **options)
            act(cast, provider)
            return response

        monkeypatch.setattr(ask_token, late)
    response = answer(client, honest)
    if when == "before the answer" and act is _disable_provider:
        assert response.status_code == 404
    elif when == "before the answer" and act is _change_claims:
        assert refusals() == ["oidc-not-member"]
    else:
        assert refusals() == [kind]
    assert who(client) is None
    assert not Session.objects.filter(user__username="dora").exists() or act is _change_claims


def test_who_is_disabled_while_groups_are_applied_gets_no_session(
    cast: Cast, provider: OidcProvider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(Client(), issuer)
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client)))

    def late(**options: Any) -> User:
        _disable_account(cast, provider)
        return apply_groups(**options)

    monkeypatch.setattr(answers, "apply_groups", late)
    answer(client, honest)
    assert refusals() == ["oidc-account"]
    assert not Session.objects.filter(user__username="dora").exists()


def _frame(issuer: Issuer) -> HttpResponse:
    return Client().get("/oidc/acme/front-channel-logout", {"iss": issuer.name, "sid": "sid-1"})  # type: ignore[return-value]


LOGOUTS: list[tuple[str, dict[str, Any], Callable[[Issuer], HttpResponse]]] = [
    ("by sid", {}, lambda issuer: log_out(issuer, sid="sid-1", sub=None)),
    ("by sid and subject", {}, lambda issuer: log_out(issuer, sid="sid-1")),
    ("by subject", {}, lambda issuer: log_out(issuer, sid=None)),
    ("in a frame", {}, _frame),
    ("of a session without a sid", {"sid": None}, lambda issuer: log_out(issuer, sid="sid-1")),
]


@pytest.mark.parametrize(("claims", "end"), [each[1:] for each in LOGOUTS], ids=[each[0] for each in LOGOUTS])
def test_a_logout_while_the_code_is_exchanged_ends_the_session_that_begins(
    provider: OidcProvider,
    issuer: Issuer,
    claims: dict[str, Any],
    end: Callable[[Issuer], HttpResponse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchanged, client = discovery.answer_of, Client()

    def late(*arguments: Any, **options: Any) -> Any:
        response = exchanged(*arguments, **options)
        assert end(issuer).status_code == 200
        return response

    attempt = issuer.attempt(ask(client), **claims)
    attempt.claims = {name: value for name, value in attempt.claims.items() if value is not None}
    with monkeypatch.context() as during:
        during.setattr("environments_app.oidc.exchange.answer_of", late)
        response = answer(client, issuer.accept(attempt))
    assert response.status_code == 403
    assert refusals()[-1] == "oidc-session-ended"
    assert who(client) is None
    assert not Session.objects.exclude(user=None).exists()
    # The next sign-in is another one.
    assert who(signed_in(issuer)) == "dora"


def test_a_logout_of_another_session_ends_no_sign_in(
    provider: OidcProvider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanged = discovery.answer_of

    def late(*arguments: Any, **options: Any) -> Any:
        response = exchanged(*arguments, **options)
        for sid, subject in (("sid-2", None), ("sid-2", "sub-of-dora"), (None, "sub-of-another")):
            assert log_out(issuer, sid=sid, sub=subject).status_code == 200
        return response

    monkeypatch.setattr("environments_app.oidc.exchange.answer_of", late)
    assert who(signed_in(issuer)) == "dora"


def test_a_logout_that_finds_the_session_before_it_is_whole_leaves_none(
    provider: OidcProvider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()

    def ended(*arguments: Any, **options: Any) -> None:
        start_provider_session(*arguments, **options)
        Session.objects.all().delete()

    monkeypatch.setattr("environments_app.single_sign_on.answers.start_provider_session", ended)
    assert sign_in(client, issuer).status_code == 403
    assert refusals() == ["oidc-session-ended"]
    assert who(client) is None


def test_a_rotated_key_counts_and_the_old_one_no_more(
    provider: OidcProvider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(Client(), issuer)
    client = Client()
    attempt = issuer.attempt(ask(client))
    issuer.keys = [rsa_key("two")]
    # Nothing is fetched within the minute; after it the new key is known and the old one is not.
    monkeypatch.setattr("environments_app.trusts.key_source.COOL_DOWN_SECONDS", 0)
    attempt.header, attempt.key = {"alg": "RS256", "kid": "two"}, rsa_key("two")
    answer(client, issuer.accept(attempt))
    assert who(client) == "dora"
    old = Client()
    assert sign_in(old, issuer).status_code == 403
    assert refusals() == ["oidc-unknown-key"]


def test_a_disabled_or_forged_account_stays_out(
    cast: Cast, provider: OidcProvider, issuer: Issuer, events: Events
) -> None:
    sign_in(Client(), issuer)
    _disable_account(cast, provider)
    assert sign_in(Client(), issuer).status_code == 403
    denied = events(Action.SIGN_IN)[-1]
    assert denied.outcome == "denied"
    assert '"reason":"oidc-account"' in denied.details
    User.objects.filter(username="dora").update(is_active=True, role="admin")
    assert sign_in(Client(), issuer).status_code == 403
    assert refusals()[-1] == "oidc-account"


# --- Fresh proof -----------------------------------------------------------------------------------


def signed_in(issuer: Issuer, **claims: Any) -> Client:
    client = Client()
    assert sign_in(client, issuer, **claims).status_code == 302
    return client


def confirm(client: Client, issuer: Issuer, **claims: Any) -> HttpResponse:
    page = client.get("/confirm").content.decode()
    assert "/oidc/acme/start?again=1" in page.replace("&amp;", "&")
    asked = ask(client, again="1", next="/profile")
    assert (asked.query["prompt"], asked.query["max_age"]) == ("login", "900")
    attempt = issuer.attempt(asked, **claims)
    attempt.claims = {name: value for name, value in attempt.claims.items() if value is not None}
    return answer(client, issuer.accept(attempt))


def is_fresh(client: Client) -> bool:
    return bool(time.time() - client.session["confirmed_at"] < 100)


def test_a_proof_counts_from_when_the_provider_asked(provider: OidcProvider, issuer: Issuer) -> None:
    client = signed_in(issuer, auth_time=ago(7200))
    assert not is_fresh(client)
    assert confirm(client, issuer)["Location"] == "/profile"
    assert is_fresh(client)


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"auth_time": None}, "oidc-not-fresh"),
        ({"auth_time": 0}, "oidc-not-fresh"),
        ({"auth_time": 1}, "oidc-not-fresh"),
        ({"sub": "another"}, "oidc-other-person"),
        ({"auth_time": True}, "oidc-auth-time"),
        ({"auth_time": -1}, "oidc-auth-time"),
        ({"auth_time": False}, "oidc-auth-time"),
    ],
    ids=[
        "no time",
        "a time of 0",
        "an old session of the provider",
        "another person",
        "a time that is none",
        "a time below 0",
        "a time that is false",
    ],
)
def test_what_proves_nothing_confirms_nothing(
    provider: OidcProvider, issuer: Issuer, claims: dict[str, Any], kind: str
) -> None:
    client = signed_in(issuer, auth_time=ago(7200))
    assert confirm(client, issuer, **claims).status_code == 403
    assert refusals() == [kind]
    assert not is_fresh(client)


def test_a_sign_in_without_a_time_is_no_fresh_proof(
    cast: Cast, provider: OidcProvider, issuer: Issuer
) -> None:
    root = user_principal(cast.root).proven()
    map_group(actor=root, group="admins", environment=None, role="admin", provider=provider)
    client = Client()
    attempt = issuer.attempt(ask(client), groups=["admins"])
    del attempt.claims["auth_time"]
    assert answer(client, issuer.accept(attempt)).status_code == 302
    assert who(client) == "dora"
    assert issue_administering(client) == 403
    assert confirm(client, issuer, groups=["admins"])["Location"] == "/profile"
    assert issue_administering(client) == 201


def issue_administering(client: Client) -> int:
    token = {"name": f"t{time.time_ns()}", "role": "admin"}
    return client.post("/api/tokens", token, content_type="application/json").status_code


def test_a_session_that_ended_meanwhile_is_not_confirmed(
    provider: OidcProvider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:

    client, exchanged = signed_in(issuer, auth_time=ago(7200)), discovery.answer_of

    def late(*arguments: Any, **options: Any) -> Any:
        response = exchanged(*arguments, **options)
        Session.objects.exclude(user=None).delete()
        return response

    monkeypatch.setattr("environments_app.oidc.exchange.answer_of", late)
    assert confirm(client, issuer).status_code == 403
    assert refusals() == ["oidc-session-ended"]
    assert not Session.objects.exclude(user=None).exists()


def test_a_session_lasts_no_longer_than_the_provider_s_hours(cast: Cast, issuer: Issuer) -> None:
    add(cast, issuer, session_hours=1)
    signed_in(issuer)
    left = Session.objects.get(user__username="dora").expire_date - timezone.now()
    assert left.total_seconds() <= 3600


# --- Ending sessions -------------------------------------------------------------------------------


def logout_claims(issuer: Issuer, **claims: Any) -> dict[str, Any]:
    now = int(time.time())
    plain = {
        "iss": issuer.name, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": f"{time.time_ns()}",
        "events": {LOGOUT_EVENT: {}}, "sub": "sub-of-dora", **claims,
    }  # fmt: skip
    return {name: value for name, value in plain.items() if value is not None}


def log_out(issuer: Issuer, header: dict[str, Any] | None = None, **claims: Any) -> HttpResponse:
    text = sign({"alg": "RS256", "kid": "one", "typ": "logout+jwt", **(header or {})}, logout_claims(issuer, **claims), rsa_key("one"))  # fmt: skip
    return Client().post("/oidc/acme/back-channel-logout", {"logout_token": text})  # type: ignore[return-value]


def test_a_logout_of_the_subject_ends_all_that_it_opened(
    cast: Cast, provider: OidcProvider, issuer: Issuer, events: Events
) -> None:
    first, second = signed_in(issuer), signed_in(issuer, sid="sid-2")
    alice = Client()
    alice.post("/sign-in", {"username": "alice", "password": PASSWORD})
    dora = User.objects.get(username="dora")
    token, _ = issue_personal(actor=user_principal(dora).proven(), name="laptop")
    response = log_out(issuer)
    assert (response.status_code, response.content) == (200, b"")
    assert "no-store" in response["Cache-Control"]
    assert (who(first), who(second), who(alice)) == (None, None, "alice")
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert '"by":"identity provider"' in events(Action.SESSION_END)[-1].details


@pytest.mark.parametrize(
    "claims",
    [{"sid": "sid-1"}, {"sid": "sid-1", "sub": None}, {"sid": "sid-1", "exp": None}],
    ids=["both", "sid alone", "no end"],
)
def test_a_logout_of_a_session_ends_that_one(
    provider: OidcProvider, issuer: Issuer, claims: dict[str, Any]
) -> None:
    first, second = signed_in(issuer), signed_in(issuer, sid="sid-2")
    assert log_out(issuer, **claims).status_code == 200
    assert (who(first), who(second)) == (None, "dora")


HOSTILE_LOGOUTS: list[tuple[str, str, dict[str, Any]]] = [
    ("oidc-logout-nonce", "a nonce", {"nonce": "x"}),
    ("oidc-logout-event", "no event", {"events": None}),
    ("oidc-logout-event", "another event", {"events": {"https://other.example": {}}}),
    ("oidc-logout-event", "an event that is no object", {"events": {LOGOUT_EVENT: True}}),
    ("oidc-logout-nobody", "neither subject nor session", {"sub": None}),
    ("oidc-logout-nobody", "a session that is no text", {"sid": 1}),
    ("oidc-no-id", "no id", {"jti": None}),
    ("oidc-audience", "another client", {"aud": "other"}),
    ("oidc-issuer", "another issuer", {"iss": "https://evil.example"}),
    ("oidc-too-old", "old", {"iat": ago(600)}),
    ("oidc-expired", "expired", {"exp": ago(60)}),
    ("oidc-expired", "an end that is none", {"exp": ""}),
    ("oidc-too-old", "old, without an end", {"exp": None, "iat": ago(600)}),
    ("oidc-subject", "a subject that is no text", {"sub": 1}),
    ("oidc-malformed", "half a character as id", {"jti": "\ud800"}),
    ("oidc-malformed", "half a character as session", {"sid": "\ud800"}),
    ("oidc-malformed", "half a character as subject", {"sub": "\ud800"}),
]


@pytest.mark.parametrize(
    ("kind", "claims"), [(k, c) for k, _, c in HOSTILE_LOGOUTS], ids=[w for _, w, _ in HOSTILE_LOGOUTS]
)
def test_a_hostile_logout_ends_nothing(
    provider: OidcProvider, issuer: Issuer, kind: str, claims: dict[str, Any]
) -> None:
    client = signed_in(issuer)
    assert log_out(issuer, **claims).status_code == 400
    assert refusals() == [kind]
    assert who(client) == "dora"


def test_a_logout_of_another_issuer_costs_the_provider_no_request(
    provider: OidcProvider, issuer: Issuer
) -> None:
    """Anybody may send one, with a key that nobody has."""
    assert log_out(issuer, {"kid": "unknown"}, iss="https://evil.example").status_code == 400
    assert "/keys" not in issuer.asked
    assert log_out(issuer, {"kid": "unknown"}).status_code == 400
    assert "/keys" in issuer.asked


def test_a_logout_token_is_neither_an_id_token_nor_used_twice(provider: OidcProvider, issuer: Issuer) -> None:
    client = signed_in(issuer)
    text = sign({"alg": "RS256", "kid": "one"}, logout_claims(issuer), rsa_key("one"))
    post = Client().post
    assert post("/oidc/acme/back-channel-logout", {"logout_token": text}).status_code == 200
    assert who(client) is None
    client = signed_in(issuer)
    assert post("/oidc/acme/back-channel-logout", {"logout_token": text}).status_code == 400
    assert refusals() == ["oidc-replayed"]
    assert who(client) == "dora"
    # An ID token ends nothing, although the provider signed it.
    attempt = issuer.attempt(ask(Client()))
    assert post("/oidc/acme/back-channel-logout", {"logout_token": attempt.token()}).status_code == 400
    assert refusals()[-1] == "oidc-logout-event"


def test_a_frame_of_the_provider_ends_the_session_that_it_names(
    provider: OidcProvider, issuer: Issuer
) -> None:
    client = signed_in(issuer)
    for query in (
        {},
        {"iss": issuer.name},
        {"sid": "sid-1"},
        {"iss": "https://evil.example", "sid": "sid-1"},
    ):
        assert Client().get("/oidc/acme/front-channel-logout", query).status_code == 403
    assert (
        Client().get("/oidc/acme/front-channel-logout", {"iss": issuer.name, "sid": "sid-9"}).status_code
        == 200
    )
    assert who(client) == "dora"
    assert (
        Client().get("/oidc/acme/front-channel-logout", {"iss": issuer.name, "sid": "sid-1"}).status_code
        == 200
    )
    assert who(client) is None


def test_signing_out_leads_to_the_provider(provider: OidcProvider, issuer: Issuer) -> None:
    client = signed_in(issuer)
    page = client.post("/sign-out").content.decode().replace("&amp;", "&")
    assert f"{issuer.base}/end?client_id={CLIENT}&post_logout_redirect_uri=" in page
    assert "&id_token_hint=" in page
    assert who(client) is None
    assert Client().get("/oidc/acme/signed-out").status_code == 200


def test_an_id_token_that_no_address_can_hold_is_not_kept(provider: OidcProvider, issuer: Issuer) -> None:
    client = signed_in(issuer, filler="x" * 4000)
    page = client.post("/sign-out").content.decode()
    assert f"{issuer.base}/end?client_id=" in page
    assert "id_token_hint" not in page


# --- Setting a provider up -------------------------------------------------------------------------


def test_disabling_a_provider_ends_its_sessions_and_takes_its_button(
    cast: Cast, provider: OidcProvider, issuer: Issuer
) -> None:
    client = signed_in(issuer)
    _disable_provider(cast, provider)
    assert who(client) is None
    assert "Acme" not in Client().get("/sign-in").content.decode()
    assert Client().get("/oidc/acme/start").status_code == 404


def test_a_forged_provider_signs_nobody_in(provider: OidcProvider, issuer: Issuer) -> None:
    OidcProvider.objects.filter(pk=provider.pk).update(issuer="https://evil.example")
    assert Client().get("/oidc/acme/start").status_code == 404
    assert "Acme" not in Client().get("/sign-in").content.decode()


def test_guesses_of_sessions_in_a_frame_are_limited(
    provider: OidcProvider, issuer: Issuer, settings: Settings
) -> None:
    """Each is noted in a row: without a limit anybody could fill the database."""
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    query = {"iss": issuer.name, "sid": "nobody"}
    answers = [
        Client().get("/oidc/acme/front-channel-logout", query | {"sid": f"guess-{number}"}).status_code
        for number in range(4)
    ]
    assert answers == [200, 200, 429, 429]
    assert UsedJwt.objects.count() == 2


def try_out(client: Client, issuer: Issuer, **claims: Any) -> HttpResponse:
    return answer(client, issuer.accept(issuer.attempt(ask(client, test="1"), **claims)))


@pytest.fixture
def administrator(cast: Cast) -> Client:
    client = Client()
    client.post("/sign-in", {"username": "root", "password": PASSWORD})
    return client


@pytest.mark.parametrize("enabled", [True, False])
def test_an_administrator_tests_a_provider_before_anybody_signs_in(
    cast: Cast, provider: OidcProvider, issuer: Issuer, administrator: Client, enabled: bool
) -> None:
    root = user_principal(cast.root).proven()
    providers.change_provider(actor=root, provider=provider, enabled=enabled)
    asked = ask(administrator, test="1")
    assert asked.query["prompt"] == "login"
    page = answer(administrator, issuer.accept(issuer.attempt(asked))).content.decode()
    for stated in ("sub-of-dora", "dora@example.com", "engineers", "A new one, dora", "Yes: it asked"):
        assert stated in page, stated
    assert who(administrator) == "root"
    assert not User.objects.filter(username="dora").exists()
    assert who(Client()) is None


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"auth_time": int(time.time()) - 600}, "No: auth_time is of an earlier sign-in."),
        ({"auth_time": None}, "No: it states no auth_time."),
        ({"auth_time": 0}, "No: it states no auth_time."),
        ({"preferred_username": "alice"}, "Refused: another account has the name alice."),
        ({"email_verified": False}, "None that the provider states as verified."),
    ],
    ids=["old proof", "no proof", "a proof of 0", "a name that is taken", "no verified address"],
)
def test_the_test_of_a_provider_says_what_is_missing(
    provider: OidcProvider, issuer: Issuer, administrator: Client, claims: dict[str, Any], said: str
) -> None:
    attempt = issuer.attempt(ask(administrator, test="1"), **claims)
    attempt.claims = {name: value for name, value in attempt.claims.items() if value is not None}
    assert said in answer(administrator, issuer.accept(attempt)).content.decode()


def test_a_wrong_answer_fails_the_test_of_a_provider(
    provider: OidcProvider, issuer: Issuer, administrator: Client
) -> None:
    assert try_out(administrator, issuer, aud="another").status_code == 403
    provider.refresh_from_db()
    assert provider.last_refusal == "oidc-audience"


def test_nobody_else_tests_a_provider(cast: Cast, provider: OidcProvider, issuer: Issuer) -> None:
    assert Client().get("/oidc/acme/start", {"test": "1"})["Location"] == "/sign-in"
    alice = Client()
    alice.post("/sign-in", {"username": "alice", "password": PASSWORD})
    assert alice.get("/oidc/acme/start", {"test": "1"}).status_code == 403
    _disable_provider(cast, provider)
    for client in (Client(), alice):
        assert client.get("/oidc/acme/start").status_code == 404
    assert Client().get("/oidc/acme/start", {"test": "1"}).status_code == 404


def test_who_is_no_administrator_any_more_sees_no_result(
    cast: Cast, provider: OidcProvider, issuer: Issuer, administrator: Client
) -> None:
    honest = issuer.accept(issuer.attempt(ask(administrator, test="1")))
    User.objects.filter(pk=cast.root.pk).update(role="user")
    user = User.objects.get(pk=cast.root.pk)
    user.save()
    page = answer(administrator, honest)
    assert page.status_code == 403
    assert b"sub-of-dora" not in page.content


def test_a_sign_in_at_a_provider_that_is_disabled_meanwhile_is_no_test(
    cast: Cast, provider: OidcProvider, issuer: Issuer
) -> None:
    client = Client()
    honest = issuer.accept(issuer.attempt(ask(client)))
    _disable_provider(cast, provider)
    assert answer(client, honest).status_code == 404
