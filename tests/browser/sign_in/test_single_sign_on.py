import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import override_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from environments_app.models import Membership, Session, User
from environments_app.single_sign_on.group_mapping import map_group
from environments_app.tests.cast import Cast
from tests.browser.visitor import PATIENCE_MILLISECONDS
from tests.saml_idp.server import WebProvider, serving

NAME = "alice.w@example.com"


@pytest.fixture
def provider(tmp_path: Path, site: str) -> Iterator[WebProvider]:
    """A running identity provider that Keeper knows."""
    # By this name the provider's address is another site, from which no cookie of Keeper's comes.
    assert urlsplit(site).hostname == "localhost"
    with serving(tmp_path / "idp") as provider:
        provider.groups[NAME] = []
        provider.logout_address = f"{site}/saml/logout"
        file = tmp_path / "metadata.xml"
        file.write_text(provider.metadata())
        with override_settings(
            KEEPER_SAML=True,
            KEEPER_URL=site,
            KEEPER_SAML_METADATA_FILE=str(file),
            KEEPER_SAML_KEY_FILE=str(tmp_path / "saml.key"),
            KEEPER_SAML_CERTIFICATE_FILE=str(tmp_path / "saml.crt"),
            KEEPER_DATA_DIR=tmp_path,
        ):
            yield provider


@pytest.fixture
def window(browser: Browser, site: str) -> Iterator[Page]:
    context: BrowserContext = browser.new_context(base_url=site)
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [line for line in problems if "403 (Forbidden)" not in line] == []


def sign_in(page: Page, *, choose: bool = True) -> None:
    page.goto("/sign-in?next=/environments")
    page.get_by_role("link", name="Sign in with single sign-on").click()
    if choose:
        page.get_by_role("button", name=f"I am {NAME}").click()
    page.get_by_role("button", name="Continue to Keeper").click()
    expect(page).to_have_url(re.compile("/environments$"))


def roles(page: Page) -> list[str]:
    page.goto("/environments")
    return [row.inner_text() for row in page.locator("tbody tr").all()]


def test_a_real_sign_in_whose_groups_change_and_a_logout_of_both(
    cast: Cast, provider: WebProvider, window: Page
) -> None:
    # As a manager: what is mapped by administration alone waits for one.
    for place in (cast.development, cast.production):
        Membership.objects.create(environment=place, user=cast.root, role="manager")
    root = cast.principal(cast.root)
    map_group(actor=root, group="dev-readers", environment=cast.development, role="reader")
    map_group(actor=root, group="prod-managers", environment=cast.production, role="manager")
    provider.groups[NAME] = ["dev-readers"]
    sign_in(window)
    assert all(asked.signed for asked in provider.asked)
    (row,) = roles(window)
    assert "development" in row
    assert "Reader" in row
    cookies = {cookie["name"]: cookie for cookie in window.context.cookies()}
    assert {cookie["sameSite"] for cookie in cookies.values()} == {"Lax"}
    assert cookies["sessionid"]["httpOnly"]
    assert "saml_session" not in cookies

    window.locator("summary.person").click()
    window.get_by_role("button", name="Sign out").click()
    expect(window.get_by_role("heading", name="You are signed out")).to_be_visible()
    expect(window).to_have_url(re.compile("/saml/logout"))
    assert provider.signed_in is None
    window.goto("/environments")
    expect(window).to_have_url(re.compile("/sign-in"))

    provider.groups[NAME] = ["prod-managers"]
    sign_in(window)
    (row,) = roles(window)
    assert "production" in row
    assert "Manager" in row
    assert User.objects.filter(username=NAME).count() == 1


def test_a_refusal_is_a_page_that_one_understands(cast: Cast, provider: WebProvider, window: Page) -> None:
    User.objects.create_user(NAME)
    window.goto("/sign-in")
    window.get_by_role("link", name="Sign in with single sign-on").click()
    window.get_by_role("button", name=f"I am {NAME}").click()
    window.get_by_role("button", name="Continue to Keeper").click()
    expect(window.get_by_role("alert")).to_contain_text("not handed over because of a name")
    expect(window.get_by_role("link", name="Try again")).to_be_visible()


def test_a_form_that_outlived_its_session_is_sent_after_single_sign_on_in_a_second_tab(
    cast: Cast, provider: WebProvider, window: Page
) -> None:
    Membership.objects.create(environment=cast.development, user=cast.root, role="manager")
    map_group(
        actor=cast.principal(cast.root), group="dev-editors", environment=cast.development, role="editor"
    )
    provider.groups[NAME] = ["dev-editors"]
    sign_in(window)
    window.goto("/secrets/new?environment=development")
    window.locator("#id_name").fill("payments/db")
    window.locator("#id_value").fill("typed-with-care")
    Session.objects.all().delete()
    window.get_by_role("button", name="Create secret").click()
    dialog = window.locator("dialog#session")
    expect(dialog).to_contain_text("Your session has expired")

    with window.context.expect_page() as opened:
        dialog.get_by_role("link", name="Sign in with single sign-on").click()
    tab = opened.value
    # The provider remembers who signed in there.
    tab.get_by_role("button", name="Continue to Keeper").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("You are signed in")
    window.bring_to_front()

    expect(window.get_by_role("heading", level=1)).to_have_text("payments/db")
