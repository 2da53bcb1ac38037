"""Providers of three makers, all at once in one installation: sign-in, fresh proof, and logout in both directions."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from django.test import Client
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from audit_app.models import RefusalCount
from environments_app.authorization.principals import user_principal
from environments_app.models import User
from environments_app.oidc import providers
from environments_app.tests.cast import Cast
from environments_app.trusts.key_source import forget_keys
from tests.people.test_oidc import is_fresh, who
from tests.servers.openid.certified import CertifiedProvider
from tests.servers.openid.glewlwyd import Glewlwyd
from tests.servers.openid.lemonldap import LemonLdap
from tests.servers.openid.provider import CLIENT, SECRET, OpenIdServer

pytestmark = pytest.mark.django_db(transaction=True)


class Browser:
    """A person's browser: at Keeper, and at a provider."""

    def __init__(self, provider: OpenIdServer) -> None:
        self.provider, self.person = provider, provider.people[0]
        self.client, self.elsewhere = Client(), requests.Session()

    def sign_in(self, **query: str) -> int:
        """Go to the provider and back, and return how Keeper answers."""
        return self.follow(self.client.get(f"/oidc/{self.provider.slug}/start", query)["Location"])

    def follow(self, address: str) -> int:
        back = urlsplit(self.provider.back_from(self.elsewhere, address, self.person))
        return self.client.get(f"{back.path}?{back.query}").status_code


@pytest.fixture
def started(
    cast: Cast, live_server: LiveServer, settings: Settings, tmp_path: Path
) -> Iterator[list[OpenIdServer]]:
    settings.KEEPER_URL, settings.KEEPER_OUTBOUND_ALLOWED = live_server.url, ["127.0.0.0/8"]
    forget_keys()
    root, at = user_principal(cast.root).proven(), live_server.url
    with ExitStack() as stack:
        servers: list[OpenIdServer] = [
            CertifiedProvider(tmp_path, slug="secret", keeper=at, auth="client_secret_basic"),
            CertifiedProvider(tmp_path, slug="keyed", keeper=at, auth="private_key_jwt", algorithm="ES256"),
            LemonLdap(tmp_path, slug="lemonldap", keeper=at),
            Glewlwyd(tmp_path, slug="glewlwyd", keeper=at),
        ]
        for server in servers:
            stack.callback(server.stop)
            server.start()
        for server in servers:
            server.wait()
            keyed = server.auth == "private_key_jwt"
            providers.create_provider(
                actor=root, slug=server.slug, issuer=server.issuer, label=server.slug, client_id=CLIENT,
                client_auth=server.auth, secret="" if keyed else SECRET, algorithm=server.algorithm,
            )  # fmt: skip
        yield servers


def test_sign_in_fresh_proof_and_both_ways_of_logout_with_several_at_once(
    started: list[OpenIdServer],
) -> None:
    browsers = [Browser(server) for server in started]
    for browser in browsers:
        provider = browser.provider
        assert browser.sign_in() == 302
        assert who(browser.client) == browser.person
        assert User.objects.get(username=browser.person).saml_issuer == f"oidc:{provider.slug}"
        # An hour later, the proof is asked for again: the provider lets the person sign in anew.
        session = browser.client.session
        session["confirmed_at"] = time.time() - 3600
        session.save()
        assert not is_fresh(browser.client)
        answer = browser.sign_in(again="1", next="/profile")
        assert (answer, is_fresh(browser.client)) == ((302, True) if provider.proves_fresh else (403, False))

    for browser in browsers:
        # Out of Keeper, and with it out of the provider, which asks for the person the next time.
        page = browser.client.post("/sign-out").content.decode().replace("&amp;", "&")
        assert who(browser.client) is None
        (address,) = re.findall(rf'href="({browser.provider.issuer}/[^"]+)"', page)
        assert browser.follow(address) == 200
        browser.person = browser.provider.people[1]
        assert browser.sign_in() == 302
        assert who(browser.client) == browser.person

    for browser in browsers:
        # Out of the provider: it posts a logout token, and Keeper's session of it is over, and no other.
        assert who(browser.client) == browser.person
        browser.provider.leave(browser.elsewhere, browser.person)
        # Glewlwyd posts after it has answered, as a provider may.
        browser.provider.until(lambda: who(browser.client) is None)  # noqa: B023 -- it is asked in this turn.
    refused = RefusalCount.objects.filter(kind__startswith="oidc").values_list("kind", flat=True)
    assert list(refused) == ["oidc-not-fresh"]  # Glewlwyd's, which states no time.
