"""Every page in both themes and on a phone: no barrier, nothing wider than the window."""

from collections.abc import Callable
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.secret_types import SecretType
from tests.browser.accessibility import barriers
from tests.browser.visitor import Visitor

PAGES = {
    "dashboard": "/",
    "secrets": "/secrets",
    "secrets-of-an-environment": "/secrets?environment=production",
    "nothing-matches": "/secrets?q=zzz",
    "secret": "/secrets/{secret}",
    "new-secret": "/secrets/new",
    "edit-secret": "/secrets/{secret}/edit",
    "delete-secret": "/secrets/{secret}/delete",
    "environments": "/environments",
    "new-environment": "/environments/new",
    "environment": "/environments/development",
    "activity": "/activity",
    "profile": "/profile",
    "confirm": "/confirm",
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "phone": True},
}
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("look", LOOKS)
def test_pages_are_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret], look: str
) -> None:
    stored = secret(name="payments/a-rather-long-name/for-a-secret-of-the-payments-service/production-db")
    secret(name="search/config", value='{"a": "b"}', secret_type=SecretType.JSON, environment=cast.production)
    cast.alice.role = "admin"
    cast.alice.save()
    page = visitor.open("/", user=cast.alice, **LOOKS[look])
    found = {}
    for name, path in PAGES.items():
        page.goto(path.format(secret=stored.pk))
        wide = page.evaluate(_OVERFLOW)
        problems = barriers(page) + ([f"wider than the window by {wide} px"] if wide > 0 else [])
        if problems:
            found[name] = problems
        visitor.shoot(page, f"{name}-{look}")

    assert found == {}


@pytest.mark.parametrize("look", LOOKS)
def test_the_sign_in_page_is_without_barriers(visitor: Visitor, look: str) -> None:
    page = visitor.open("/sign-in", **LOOKS[look])
    visitor.shoot(page, f"sign-in-{look}")

    assert barriers(page) == []


@pytest.mark.parametrize("look", LOOKS)
def test_a_revealed_value_is_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret], look: str
) -> None:
    stored = secret(value='{"username": "b", "password": "Kx9"}', secret_type=SecretType.JSON)
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, **LOOKS[look])
    page.get_by_role("button", name="Reveal", exact=True).click()
    page.locator(".value.is-revealed").wait_for()
    visitor.shoot(page, f"revealed-{look}")

    assert barriers(page) == []
