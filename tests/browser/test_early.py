"""What is pressed before the page's scripts have run is done once they have."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, Route, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from tests.browser.visitor import PATIENCE_MILLISECONDS, Visitor

Make = Callable[..., Secret]


@contextmanager
def without_modules_yet(page: Page, path: str) -> Iterator[None]:
    """Go to a page whose modules have not arrived, and hand them over at the end."""
    held: list[Route] = []
    page.route("**/keeper/js/keeper*.js", lambda route: held.append(route))  # noqa: PLW0108 - playwright marks it
    page.goto(path, wait_until="commit")
    expect(page.locator("#toasts")).to_be_attached()
    yield
    # The page has asked for them, which this process may not have heard yet.
    deadline = time.monotonic() + PATIENCE_MILLISECONDS / 1000
    while not held:
        assert time.monotonic() < deadline, "the page did not ask for its modules"
        page.wait_for_timeout(20)
    for route in held:
        route.continue_()


def test_a_key_that_comes_early_is_not_lost(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret()
    page = visitor.open("/", user=cast.alice)
    with without_modules_yet(page, f"/secrets/{stored.pk}"):
        page.keyboard.press("r")

    expect(page.locator("[data-value]")).to_have_text("s3cr3t-Kx9")
    # As the scripts do it, and not as a page of its own.
    assert page.url.endswith(f"/secrets/{stored.pk}")


def test_what_is_typed_into_the_search_early_is_searched_for(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    secret(name="payments/db")
    secret(name="search/index-key")
    page = visitor.open("/", user=cast.alice)
    with without_modules_yet(page, "/"):
        for key in ("/", "p", "a", "y"):
            page.keyboard.press(key)

    expect(page.locator("[data-search]")).to_have_value("pay")
    expect(page.locator("#found")).to_contain_text("payments/db")


def test_what_asks_first_is_not_sent_unasked_early(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(value="first")
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second", comment="new")
    page = visitor.open("/", user=cast.alice)
    with without_modules_yet(page, f"/secrets/{stored.pk}"):
        page.get_by_role("button", name="Roll back to version 1").click()

    expect(page.get_by_role("dialog")).to_contain_text("Roll back to version 1?")
    assert stored.versions.count() == 2


def test_a_button_of_the_scripts_works_early(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/", user=cast.alice, color_scheme="light")
    with without_modules_yet(page, "/"):
        page.locator(".topbar [data-theme-toggle]").first.click()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
