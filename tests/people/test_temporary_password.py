"""Nothing but its own page opens before a password that another person set is replaced, at no address."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from environments_app.models import User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.users import accounts

pytestmark = pytest.mark.every_database_weekly
TEMPORARY = "handed-over-on-paper"
# Its own page, the way in and out, and what answers without looking at a session.
OPEN = {"/profile/password", "/sign-in", "/sign-out", "/session", "/healthz", "/readyz", "/metrics"}


def addresses(patterns: list[Any], before: str = "/") -> Iterator[str]:
    """Yield an address of every route."""
    for each in patterns:
        path = before + re.sub(r"<(int|uuid):[^>]+>", "1", str(each.pattern))
        path = re.sub(r"<[^>]+>", "x", path)
        if isinstance(each, URLResolver):
            yield from addresses(each.url_patterns, path)
        elif isinstance(each, URLPattern) and not re.search(r"[\^$()\\]", path):
            yield path


def test_every_address_leads_to_the_page_for_it(cast: Cast) -> None:
    accounts.set_password(actor=cast.principal(cast.root), user=cast.alice, password=TEMPORARY)
    client = Client()
    assert client.post("/sign-in", {"username": "alice", "password": TEMPORARY}).status_code == 302
    asked = sorted(set(addresses(get_resolver().url_patterns)) - OPEN)
    assert len(asked) > 250
    let_through = []
    for path in asked:
        for response in (client.get(path), client.post(path)):
            leads = response.headers.get("Location") == "/profile/password"
            refused = response.status_code == 403 and b"temporary-password" in response.content
            if not (leads or refused):
                let_through.append(path)
    assert not let_through
    own = {"current": TEMPORARY, "password": PASSWORD, "again": PASSWORD}
    # The account is new: it goes on to the dashboard, not to a second form of a password.
    assert client.post("/profile/password", own)["Location"] == "/"
    assert client.get("/api/whoami").json()["name"] == "alice"
    assert User.objects.get(pk=cast.alice.pk).temporary_since is None
