from collections.abc import Callable

from playwright.sync_api import expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]


def test_the_list_narrows_as_one_types_and_the_address_follows(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    for name in ("payments/db", "payments/stripe-key", "search/index-key"):
        secret(name=name)
    page = visitor.open("/secrets", user=cast.alice)
    expect(page.locator(".row-link")).to_have_count(3)

    page.keyboard.press("/")
    page.keyboard.type("pay")

    expect(page.locator(".row-link")).to_have_text(["payments/db", "payments/stripe-key"])
    expect(page).to_have_url(f"{visitor.site}/secrets?q=pay")
    expect(page.locator("[data-search]")).to_be_focused()


def test_the_list_is_filtered_without_scripts(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    secret(name="search/index-key")
    page = visitor.open("/secrets", user=cast.alice, java_script_enabled=False)

    page.locator("[data-search]").fill("search")
    page.get_by_role("button", name="Filter").click()

    expect(page.locator(".row-link")).to_have_text(["search/index-key"])


def test_rows_are_walked_and_opened_by_keyboard(visitor: Visitor, cast: Cast, secret: Make) -> None:
    for name in ("a/one", "b/two", "c/three"):
        secret(name=name)
    page = visitor.open("/secrets", user=cast.alice)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")

    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("b/two")


def test_a_filter_is_taken_away_by_its_chip(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    page = visitor.open("/secrets?environment=production&q=pay", user=cast.alice)
    expect(page.get_by_role("heading", level=2)).to_have_text("No results")

    page.get_by_role("link", name="Remove the filter environment: production").click()

    expect(page.locator(".row-link")).to_have_text(["payments/db"])


def test_an_empty_list_offers_to_make_the_first(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets?environment=development", user=cast.erin)

    page.locator(".empty").get_by_role("link", name="New secret").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("New secret")


def test_a_name_cannot_write_into_the_page(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets?q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", user=cast.alice)

    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("[data-search]")).to_have_value("<img src=x onerror=alert(1)>")
