"""Keeper proves itself to a provider by its own key: signed, public, renewed, and never in a row in the clear."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from joserfc import jws
from joserfc.jwk import KeySet, RSAKey

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from environments_app.authorization.principals import user_principal
from environments_app.authorization.rows import access_rows
from environments_app.errors import InvalidField, SignOnUnavailable
from environments_app.models import OidcClientKey, OidcProvider
from environments_app.oidc import client_keys, providers
from environments_app.tests.cast import Cast
from tests.oidc_issuer.server import SECRET, Issuer
from tests.people.test_oidc import _allowed, add, issuer, refusals, served, sign_in, who

pytestmark = pytest.mark.every_database_weekly
__all__ = ["_allowed", "issuer", "served"]
Events = Callable[..., list[AuditEvent]]


def published() -> Any:
    keys: Any = Client().get("/oidc/keys.json").json()
    return keys


@pytest.fixture(autouse=True)
def _small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make keys that are made sooner; one test looks at a real one."""
    monkeypatch.setattr(client_keys, "_BITS", 2048)


def publish(issuer: Issuer) -> None:
    """Let the provider fetch the keys now: its own thread sees nothing of this transaction."""
    keys = published()
    issuer.client_keys = lambda: keys


@pytest.fixture
def provider(cast: Cast, issuer: Issuer) -> OidcProvider:
    made = providers.create_provider(
        actor=user_principal(cast.root).proven(), slug="acme", label="Acme", issuer=issuer.name, secret="",
        client_id="keeper", client_auth="private_key_jwt",
    )  # fmt: skip
    publish(issuer)
    return made


def change(cast: Cast, row: OidcProvider, **fields: Any) -> OidcProvider:
    return providers.change_provider(actor=user_principal(cast.root).proven(), provider=row, **fields)


def age(days: float, row: OidcClientKey | None = None) -> None:
    """Let a key be so many days old."""
    row = row or OidcClientKey.objects.get()
    row.created_at = timezone.now() - timedelta(days=days)
    row.save()


@pytest.mark.every_database
def test_a_person_signs_in_without_a_secret_of_keeper(
    cast: Cast, provider: OidcProvider, issuer: Issuer, events: Events
) -> None:
    client = Client()
    assert sign_in(client, issuer).status_code == 302
    assert who(client) == "dora"
    assert bytes(provider.secret) == b""
    # Each sign-in has an assertion of its own.
    sign_in(Client(), issuer)
    assert len(set(issuer.assertions)) == 2
    assert any('"change":"key added"' in event.details for event in events(Action.SSO_PROVIDER_CHANGE))


def test_nothing_private_is_published_or_stored_in_the_clear(
    cast: Cast, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_keys, "_BITS", 3072)
    add(cast, issuer, client_auth="private_key_jwt")
    [key] = published()["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use"}
    assert len(key["n"]) == 512
    row = OidcClientKey.objects.get()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the library says
        RSAKey.import_key(bytes(row.private))
    for event in AuditEvent.objects.all():
        assert "private" not in event.details


def test_without_a_provider_that_needs_one_there_is_no_key(cast: Cast, issuer: Issuer) -> None:
    add(cast, issuer)
    assert published() == {"keys": []}
    assert not OidcClientKey.objects.exists()


@pytest.mark.parametrize(
    ("takes", "algorithm"), [(["RS256", "PS256"], "PS256"), (["RS256"], "RS256"), (None, "RS256")]
)
def test_the_strongest_algorithm_that_the_provider_takes(
    cast: Cast, provider: OidcProvider, takes: list[str] | None, algorithm: str
) -> None:
    text = client_keys.client_assertion(provider, audience="https://id.example/token", algorithms=takes)
    read = jws.deserialize_compact(text, KeySet.import_key_set(published()), algorithms=[algorithm])
    assert read.headers()["alg"] == algorithm
    assert json.loads(read.payload)["aud"] == "https://id.example/token"


def test_the_document_tells_the_algorithm(cast: Cast, issuer: Issuer, provider: OidcProvider) -> None:
    issuer.document_changes["token_endpoint_auth_signing_alg_values_supported"] = ["PS256"]
    providers.refresh_all()
    client = Client()
    sign_in(client, issuer)
    assert who(client) == "dora"


def test_a_provider_that_says_it_takes_none_is_refused(cast: Cast, issuer: Issuer) -> None:
    issuer.document_changes["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
    with pytest.raises(InvalidField, match="takes none but"):
        add(cast, issuer, client_auth="private_key_jwt")


def test_from_a_secret_to_the_key_and_back(cast: Cast, issuer: Issuer) -> None:
    row = add(cast, issuer)
    row = change(cast, row, client_auth="private_key_jwt")
    assert bytes(row.secret) == b""
    publish(issuer)
    client = Client()
    sign_in(client, issuer)
    assert who(client) == "dora"
    with pytest.raises(InvalidField, match="client secret"):
        change(cast, row, client_auth="client_secret_post")
    row = change(cast, row, client_auth="client_secret_post", secret=SECRET)
    issuer.client_keys = None
    again = Client()
    sign_in(again, issuer)
    assert who(again) == "dora"


def test_a_key_is_renewed_while_both_are_public(cast: Cast, provider: OidcProvider, issuer: Issuer) -> None:
    first = OidcClientKey.objects.get()
    age(364)
    client_keys.renew_keys()
    assert OidcClientKey.objects.count() == 1
    age(366)
    client_keys.renew_keys()
    client_keys.renew_keys()
    second = OidcClientKey.objects.exclude(pk=first.pk).get()
    # The provider may still know the first alone: that signs.
    publish(issuer)
    both = [second.public_jwk["kid"], first.public_jwk["kid"]]
    assert [key["kid"] for key in published()["keys"]] == both
    only_first = {"keys": [key for key in published()["keys"] if key["kid"] == both[1]]}
    issuer.client_keys = lambda: only_first
    assert sign_in(Client(), issuer).status_code == 302
    age(1.1, second)
    client_keys.renew_keys()
    assert len(published()["keys"]) == 2
    # A day later the second signs, and the first is still there for who has fetched it alone.
    assert sign_in(Client(), issuer).status_code == 403
    assert refusals() == ["oidc-token"]
    publish(issuer)
    assert sign_in(Client(), issuer).status_code == 302
    age(2.1, second)
    client_keys.renew_keys()
    assert [key["kid"] for key in published()["keys"]] == both[:1]
    assert sign_in(Client(), issuer).status_code == 302
    assert not [problem for problem in access_rows() if "key" not in str(problem)]


def test_keys_that_nobody_needs_are_not_renewed(cast: Cast, provider: OidcProvider) -> None:
    change(cast, provider, client_auth="client_secret_basic", secret=SECRET)
    age(800)
    client_keys.renew_keys()
    assert OidcClientKey.objects.count() == 1


def test_another_key_proves_nothing(cast: Cast, provider: OidcProvider, issuer: Issuer) -> None:
    other = RSAKey.generate_key(2048, {"use": "sig"}, private=True, auto_kid=True)
    issuer.client_keys = lambda: {"keys": [other.as_dict(private=False)]}
    assert sign_in(Client(), issuer).status_code == 403


@pytest.mark.every_database
@pytest.mark.parametrize("change", ["private = X'00'", 'public_jwk = \'{"kid": "evil"}\''])
def test_an_edited_row_is_no_key(provider: OidcProvider, issuer: Issuer, change: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE environments_app_oidcclientkey SET {change}")
    assert published() == {"keys": []}
    assert sign_in(Client(), issuer).status_code == 503
    assert [*access_rows()]


def test_a_key_of_another_row_does_not_open(provider: OidcProvider) -> None:
    first = OidcClientKey.objects.get()
    copy = OidcClientKey(public_jwk=first.public_jwk, private=first.private)
    copy.save()
    assert verified_rows([copy])
    with pytest.raises(SignOnUnavailable):
        client_keys._open(copy)


def test_it_is_sealed_anew_with_the_system_keys(provider: OidcProvider, issuer: Issuer) -> None:
    before = bytes(OidcClientKey.objects.get().private)
    assert client_keys.reseal_client_keys() == []
    assert providers.reseal_secrets() == []
    assert bytes(OidcClientKey.objects.get().private) != before
    assert sign_in(Client(), issuer).status_code == 302
    assert not [*access_rows()]
