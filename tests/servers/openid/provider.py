"""What a test knows of a provider: its issuer, how it takes Keeper's secret, and how a person answers its pages."""

import html
import re
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import requests
from joserfc.jwk import RSAKey

from tests.servers.server import Server

CLIENT: Final = "keeper"
SECRET: Final = "a:client&secret"
SECONDS: Final = 20
_FIELD: Final = re.compile(r'name="([^"]+)"(?: value="([^"]*)")?')


class OpenIdServer(Server):
    """One provider, for a Keeper that is its client; whoever signs in has their name as password."""

    auth = "client_secret_basic"
    algorithm = "RS256"
    proves_fresh = True
    # Two people of the provider: who signs in first, and who comes after.
    people = ("dora", "erna")

    def __init__(self, directory: Path, *, slug: str, keeper: str) -> None:
        super().__init__(directory / slug)
        self.slug, self.keeper = slug, f"{keeper}/oidc/{slug}"
        self.issuer = f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return nothing: a test starts it, and knows it."""
        return {}

    def back_from(self, browser: requests.Session, address: str, person: str) -> str:
        """Let a person answer each page of the provider, and return the address at Keeper that it ends at."""
        response = browser.get(address, allow_redirects=False, timeout=SECONDS)
        while True:
            if response.is_redirect:
                address = urljoin(response.url, response.headers["location"])
                if address.startswith(f"{self.keeper}/"):
                    return address
                response = browser.get(address, allow_redirects=False, timeout=SECONDS)
                continue
            if response.url.startswith(f"{self.keeper}/"):
                return response.url
            response = self.answer(browser, response, person)

    def answer(self, browser: requests.Session, page: requests.Response, person: str) -> requests.Response:
        """Fill in the form of a page and send it."""
        form = {name: html.unescape(value) for name, value in _FIELD.findall(page.text)}
        assert page.ok, page.text
        action = re.search(r'action="([^"]+)"', page.text)
        assert action, page.text
        answers = {"login": person, "user": person, "password": person, "logout": "yes"}
        return browser.post(
            urljoin(page.url, html.unescape(action[1])),
            data={**form, **answers},
            allow_redirects=False,
            timeout=SECONDS,
        )

    def leave(self, browser: requests.Session, person: str) -> None:
        """Let a person end the session at the provider, from a page of its own."""
        self.back_from(
            browser,
            f"{self.issuer}/session/end?client_id={CLIENT}&post_logout_redirect_uri={self.keeper}/signed-out",
            person,
        )


def key_pair() -> tuple[str, str]:
    """Return a new private RSA key and its public one, as PEM."""
    key = RSAKey.generate_key(2048)
    return key.as_pem(private=True).decode(), key.as_pem(private=False).decode()
