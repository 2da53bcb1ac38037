"""Providers that nobody here wrote, several at once: sign-in, fresh proof, and logout in both directions."""

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
from tests.servers.openid import CLIENT, SECRET, OidcProvider

pytestmark = pytest.mark.django_db(transaction=True)


class Browser:
    """A person's browser: at Keeper, and at the providers."""

    def __init__(self, person: str) -> None:
        self.person, self.client, self.elsewhere = person, Client(), requests.Session()

    def sign_in(self, provider: OidcProvider, **query: str) -> int:
        """Go to the provider and back, and return how Keeper answers."""
        asked = self.client.get(f"/oidc/{provider.slug}/start", query)["Location"]
        return self.follow(provider, asked)

    def follow(self, provider: OidcProvider, address: str) -> int:
        back = urlsplit(provider.back_from(self.elsewhere, address, self.person))
        return self.client.get(f"{back.path}?{back.query}").status_code


@pytest.fixture
def started(
    cast: Cast, live_server: LiveServer, settings: Settings, tmp_path: Path
) -> Iterator[list[OidcProvider]]:
    settings.KEEPER_URL, settings.KEEPER_OUTBOUND_ALLOWED = live_server.url, ["127.0.0.0/8"]
    forget_keys()
    root = user_principal(cast.root).proven()
    with ExitStack() as stack:
        servers = [
            OidcProvider(tmp_path, slug="secret", keeper=live_server.url, auth="client_secret_basic"),
            OidcProvider(
                tmp_path, slug="keyed", keeper=live_server.url, auth="private_key_jwt", algorithm="ES256"
            ),
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
    started: list[OidcProvider],
) -> None:
    browsers = [Browser(f"dora-{server.slug}") for server in started]
    for browser, server in zip(browsers, started, strict=True):
        assert browser.sign_in(server) == 302
        assert who(browser.client) == browser.person
        assert User.objects.get(username=browser.person).saml_issuer == f"oidc:{server.slug}"
        # An hour later, the proof is asked for again: the provider lets the person sign in anew.
        session = browser.client.session
        session["confirmed_at"] = time.time() - 3600
        session.save()
        assert not is_fresh(browser.client)
        assert browser.sign_in(server, again="1", next="/profile") == 302
        assert is_fresh(browser.client)

    for browser, server in zip(browsers, started, strict=True):
        # Out of Keeper, and with it out of the provider, which asks for the person the next time.
        page = browser.client.post("/sign-out").content.decode().replace("&amp;", "&")
        assert who(browser.client) is None
        (address,) = re.findall(rf'href="({server.issuer}/[^"]+)"', page)
        assert browser.follow(server, address) == 200
        browser.person = f"erna-{server.slug}"
        assert browser.sign_in(server) == 302
        assert who(browser.client) == browser.person

    for browser, server in zip(browsers, started, strict=True):
        # Out of the provider: it posts a logout token, and Keeper's session of it is over, and no other.
        assert who(browser.client) == browser.person
        browser.follow(server, server.logout_address)
        assert who(browser.client) is None
    assert not RefusalCount.objects.filter(kind__startswith="oidc").exists()
