"""No page is added without somebody who looks at it: axe in light, dark and on a phone."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse

from environments_app.tests.cast import Cast
from tests.browser import test_accessible_pages as general
from tests.browser.environments import test_approval_pages as approvals
from tests.browser.environments import test_trust_pages as trusts
from tests.browser.sync import test_rotation_pages as rotation
from tests.browser.sync import test_sync_pages as sync

LOOKED_AT: Final = (
    *general.PAGES.values(),
    *general.ELSEWHERE,
    *approvals.PAGES,
    *rotation.PAGES.values(),
    *sync.PAGES.values(),
    *trusts.PAGES.values(),
)
# What answers to GET and is no page of its own.
NO_PAGE: Final = {
    "secret-search": "a part of the top bar",
    "activity-export": "a file",
    "moved-compare": "leads on to the matrix",
    "moved-trail": "leads on to the page of the audit log",
    "moved-table": "leads on to the matrix",
    "session-state": "for scripts",
    **dict.fromkeys(
        (
            "admin-token-issue",
            "personal-token-issue",
            "token-issue",
            "environment-update",
            "member-grant",
            "person-add",
            "recipient-add",
            "webhook-add",
        ),
        "leads on to the page that its form is on",
    ),
    "aws-credentials": "for the SDKs of AWS",
    "healthz": "for machines",
    "readyz": "for machines",
    "metrics": "for machines",
    "client": "a file",
    "client-file": "a file",
    "client-checksum": "a file",
    "oidc-keys": "for identity providers",
    "oidc-start": "leads on to the identity provider",
    "oidc-callback": "leads on to where a person came from",
    "oidc-signed-out": "without a provider it is not there; the sign-on's own tests see its page",
    "oidc-front-channel-logout": "it is shown in a frame of the provider alone",
    "saml-start": "leads on to the identity provider",
    "saml-finish": "leads on to where one came from",
    "saml-metadata": "a file",
    "saml-logout": "a redirect; the sign-on's own tests see its page",
}
# The parts of addresses: all but one are numbers or names.
_PARTS: Final = defaultdict(lambda: "1", emergency=str(UUID(int=1)))
_EXAMPLES: Final[dict[str, Any]] = {
    "IntConverter": 1,
    "IdConverter": 1,
    "StringConverter": "x",
    "SlugConverter": "x",
    "UUIDConverter": UUID(int=1),
}


def _pages(patterns: list[Any], prefix: str = "") -> Iterator[URLPattern]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if path.startswith(("api/", "admin/", "static/", "vault/", "scim/")):
            continue
        if isinstance(pattern, URLResolver):
            yield from _pages(pattern.url_patterns, path)
        else:
            yield pattern


def _example(pattern: URLPattern) -> str:
    given = {
        name: _EXAMPLES[type(converter).__name__] for name, converter in pattern.pattern.converters.items()
    }
    return reverse(str(pattern.name), kwargs=given)


@pytest.fixture
def answers_to_get(cast: Cast) -> set[str]:
    """The names of the routes that take GET, whatever they say to it."""
    client = Client()
    client.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    return {
        str(pattern.name)
        for pattern in _pages(get_resolver().url_patterns)
        if client.get(_example(pattern)).status_code != 405
    }


def test_every_page_is_looked_at(answers_to_get: set[str]) -> None:
    addresses = (urlsplit(address).path.format_map(_PARTS) for address in LOOKED_AT)
    looked_at = {resolve(path).url_name for path in addresses}

    assert answers_to_get - looked_at - NO_PAGE.keys() == set()
    assert looked_at & NO_PAGE.keys() == set()
    assert NO_PAGE.keys() <= answers_to_get
