"""An environment is cloned from its page, with its secrets or without."""

from collections.abc import Callable

from playwright.sync_api import expect

from environments_app.models import UserRole
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from tests.browser.accessibility import Inspection
from tests.browser.secrets.test_journeys import kept_in
from tests.browser.visitor import Visitor


def test_an_environment_is_cloned_with_its_secrets(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret]
) -> None:
    cast.alice.role = UserRole.ADMIN
    cast.alice.save()
    secret(name="payments/db")
    page, inspection = visitor.open("/environments/development", user=cast.alice), Inspection(visitor)
    page.get_by_role("link", name="Clone").click()
    inspection.look_at(page, "clone")
    page.get_by_role("textbox", name="Name", exact=True).fill("copy")
    page.get_by_label("Copy the secrets with their values").check()
    page.get_by_role("button", name="Clone").click()

    expect(page.get_by_text("Environment copy created with 1 secret.")).to_be_visible()
    expect(page.get_by_role("link", name="payments/db in copy, version 1")).to_be_visible()
    assert "s3cr3t-Kx9" not in kept_in(page)
    assert inspection.found == {}


def test_who_creates_no_environments_is_offered_no_clone(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/environments/development", user=cast.alice)
    expect(page.get_by_role("link", name="Alerts")).to_be_visible()
    expect(page.get_by_role("link", name="Clone")).to_have_count(0)
