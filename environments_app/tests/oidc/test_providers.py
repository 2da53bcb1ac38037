"""Setting up a provider of OpenID Connect: what is refused, what is fetched, and what a change does."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.admin.forms import ClaimLines
from environments_app.authorization.principals import user_principal
from environments_app.errors import Conflict, Forbidden, InvalidField, NameInUse, SignOnUnavailable
from environments_app.models import Alert, OidcProvider, SamlGroupMapping
from environments_app.oidc import providers
from environments_app.single_sign_on.group_mapping import map_group
from environments_app.tasks import refresh_oidc_providers
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db
NAME = "https://id.example"
GUID = "11111111-2222-3333-4444-555555555555"
Events = Callable[..., list[AuditEvent]]


def document(**changes: Any) -> str:
    plain = {
        "issuer": NAME, "authorization_endpoint": f"{NAME}/a", "token_endpoint": f"{NAME}/t", "jwks_uri": f"{NAME}/k",
    }  # fmt: skip
    return json.dumps({**plain, **changes}, sort_keys=True)


@pytest.fixture(autouse=True)
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    settings.KEEPER_URL = "https://keeper.example"
    answer = {"document": document()}
    monkeypatch.setattr("environments_app.oidc.providers.discovered", lambda _issuer: answer["document"])
    return answer


def add(cast: Cast, **fields: Any) -> OidcProvider:
    plain = {"slug": "acme", "label": "Acme", "issuer": NAME, "secret": "s", "client_id": "keeper"}
    return providers.create_provider(actor=user_principal(cast.root).proven(), **{**plain, **fields})


def change(cast: Cast, provider: OidcProvider, **fields: Any) -> OidcProvider:
    return providers.change_provider(actor=user_principal(cast.root).proven(), provider=provider, **fields)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("slug", {"slug": "Acme"}),
    ("slug", {"slug": "-acme"}),
    ("issuer", {"issuer": "http://id.example"}),
    ("issuer", {"issuer": "https://id.example?x=1"}),
    ("issuer", {"issuer": "https://user@id.example"}),
    ("issuer", {"issuer": "https://login.microsoftonline.com/common/v2.0"}),
    ("issuer", {"issuer": "https://login.microsoftonline.com/organizations/v2.0"}),
    ("issuer", {"issuer": f"https://sts.windows.net/{GUID}/"}),
    ("required_claims", {"issuer": "https://accounts.google.com"}),
    (
        "required_claims",
        {"issuer": "https://accounts.google.com", "required_claims": {"email": ["a@b.example"]}},
    ),
    ("required_claims", {"issuer": "https://gitlab.com"}),
    ("required_claims", {"required_claims": {"hd": []}}),
    ("required_claims", {"required_claims": {"hd": "example.com"}}),
    ("required_claims", {"required_claims": {"a b": ["x"]}}),
    ("scopes", {"scopes": "profile email"}),
    ("session_hours", {"session_hours": 0}),
    ("session_hours", {"session_hours": 25}),
    ("client_secret", {"secret": ""}),
    ("algorithm", {"algorithm": "HS256"}),
    ("document", {"document": "{}"}),
]


@pytest.mark.parametrize(("field", "fields"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_cannot_be_a_provider_is_refused_at_its_field(
    cast: Cast, field: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidField) as refused:
        add(cast, **fields)
    assert refused.value.field == field
    assert not OidcProvider.objects.exists()


def test_a_tenant_of_entra_is_one_provider(cast: Cast) -> None:
    assert add(cast, issuer=f"https://login.microsoftonline.com/{GUID}/v2.0").enabled


def test_what_the_provider_states_that_it_cannot_do_is_refused(cast: Cast, served: dict[str, str]) -> None:
    for member, field in (
        ("id_token_signing_alg_values_supported", "algorithm"),
        ("token_endpoint_auth_methods_supported", "client_auth"),
        ("code_challenge_methods_supported", "issuer"),
    ):
        served["document"] = document(**{member: ["other"]})
        with pytest.raises(InvalidField) as refused:
            add(cast)
        assert refused.value.field == field


def test_a_change_to_what_the_provider_cannot_do_is_refused(cast: Cast, served: dict[str, str]) -> None:
    served["document"] = document(token_endpoint_auth_methods_supported=["client_secret_basic"])
    provider = add(cast, client_auth="client_secret_basic")
    with pytest.raises(InvalidField):
        change(cast, provider, client_auth="client_secret_post")
    assert OidcProvider.objects.get().client_auth == "client_secret_basic"


def test_only_an_administrator_adds_one_and_a_name_once(cast: Cast, settings: Settings) -> None:
    with pytest.raises(Forbidden):
        providers.create_provider(
            actor=user_principal(cast.alice).proven(),
            slug="acme",
            issuer=NAME,
            secret="s",
            label="A",
            client_id="k",
        )
    add(cast)
    with pytest.raises(NameInUse):
        add(cast)
    settings.KEEPER_URL = ""
    with pytest.raises(Conflict, match="KEEPER_URL"):
        add(cast, slug="other")


def test_the_issuer_and_the_name_are_fixed(cast: Cast) -> None:
    provider = add(cast)
    for name in ("issuer", "slug", "document"):
        with pytest.raises(InvalidField):
            change(cast, provider, **{name: "https://evil.example"})


def test_the_secret_is_sealed_for_its_row(cast: Cast, events: Events) -> None:
    first, second = add(cast, secret="the-client-secret"), add(cast, slug="globex", secret="another")
    assert b"the-client-secret" not in bytes(first.secret)
    assert providers.open_secret(first) == "the-client-secret"
    second.secret = first.secret
    with pytest.raises(SignOnUnavailable):
        providers.open_secret(second)
    assert change(cast, first, secret="new").secret != second.secret
    assert providers.open_secret(OidcProvider.objects.get(pk=first.pk)) == "new"
    assert all("the-client-secret" not in event.details for event in events(Action.SSO_PROVIDER_CHANGE))
    assert providers.reseal_secrets() == []
    assert providers.open_secret(OidcProvider.objects.get(pk=first.pk)) == "new"


@pytest.mark.parametrize("field", ["client_id", "groups_claim"])
def test_another_client_or_claim_suspends_what_its_groups_open(cast: Cast, field: str) -> None:
    provider = add(cast)
    mapping = map_group(
        actor=user_principal(cast.root).proven(),
        group="staff", environment=cast.development, role="viewer", provider=provider,
    )  # fmt: skip
    mapping.suspended_at = None
    mapping.save()
    change(cast, provider, label="Other")
    assert not SamlGroupMapping.objects.get(pk=mapping.pk).suspended_at
    change(cast, provider, **{field: "another"})
    stored = SamlGroupMapping.objects.get(pk=mapping.pk)
    assert stored.suspended_at
    assert stored.is_authentic()


def test_a_refresh_tells_of_another_host_and_keeps_what_is_no_document(
    cast: Cast, served: dict[str, str], monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    provider = add(cast)
    refresh_oidc_providers()
    assert len(events(Action.SSO_PROVIDER_CHANGE)) == 1
    served["document"] = document(token_endpoint="https://evil.example/t")
    refresh_oidc_providers()
    provider.refresh_from_db()
    assert providers.document_of(provider)["token_endpoint"] == "https://evil.example/t"
    assert Alert.objects.get(kind=providers.MOVED).lines[0].startswith("Addresses are now at evil.example")
    assert '"hosts":["evil.example"]' in events(Action.SSO_PROVIDER_CHANGE)[-1].details

    def away(_issuer: str) -> str:
        raise SignOnUnavailable("away")

    monkeypatch.setattr("environments_app.oidc.providers.discovered", away)
    refresh_oidc_providers()
    provider.refresh_from_db()
    assert provider.is_authentic()


def test_a_stale_administrator_is_asked_first(cast: Cast) -> None:
    from environments_app.errors import ConfirmationNeeded

    with pytest.raises(ConfirmationNeeded):
        providers.create_provider(
            actor=replace(user_principal(cast.root), confirmed=False), slug="a", issuer=NAME, secret="s"
        )


def test_a_refused_form_keeps_what_was_typed_and_says_first_what_refuses_it(
    cast: Cast, client: Client, settings: Settings
) -> None:
    settings.KEEPER_URL = ""
    client.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    path = reverse("admin:environments_app_oidcprovider_add")
    assert "Set KEEPER_URL first" in client.get(path).content.decode()
    form = {
        "label": "Acme", "slug": "acme", "issuer": NAME, "client_id": "keeper", "client_secret": "s",
        "client_auth": "client_secret_basic", "algorithm": "RS256", "scopes": "openid",
        "username_claim": "preferred_username", "email_claim": "email", "name_claim": "name",
        "session_hours": "8",
    }  # fmt: skip
    page = client.post(path, form)
    text = page.content.decode()
    assert page.status_code == 200
    assert "Set KEEPER_URL first" in text
    assert 'value="keeper"' in text
    assert f'value="{NAME}"' in text
    assert "it stays" not in text
    assert not OidcProvider.objects.exists()


def test_the_form_shows_every_value_of_each_required_claim_and_stores_the_same(settings: Settings) -> None:
    claims = {"hd": ["example.com", "example.org"], "team": ["ops"]}
    field = ClaimLines()
    lines = field.prepare_value(claims)
    assert lines.splitlines() == ["hd=example.com", "hd=example.org", "team=ops"]
    assert field.to_python(lines) == claims
    assert not field.has_changed(claims, lines)
