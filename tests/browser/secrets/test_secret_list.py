import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from tests.browser.keys import walk
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
    page.locator(".filters-choices > button[type=submit]").click()

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
    page = visitor.open("/secrets?type=API_KEY&q=pay", user=cast.alice)
    expect(page.get_by_role("heading", level=2)).to_have_text("No results")

    page.get_by_role("link", name="Remove filter Type: API key").click()

    expect(page.locator(".row-link")).to_have_text(["payments/db"])


def test_an_empty_list_offers_to_make_the_first(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets?environment=development", user=cast.erin)

    page.locator(".empty").get_by_role("link", name="New secret").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("New secret")


def test_a_name_cannot_write_into_the_page(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets?q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", user=cast.alice)

    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("[data-search]")).to_have_value("<img src=x onerror=alert(1)>")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_value_is_found_revealed_and_copied_in_its_row_by_keys_alone(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    secret(name="payments/db")
    secret(name="search/index-key", value="of-search")
    page = visitor.open(
        "/secrets", user=cast.alice, phone=phone, permissions=["clipboard-read", "clipboard-write"]
    )
    page.keyboard.press("/")
    page.keyboard.type("search")
    expect(page.locator(".row-link")).to_have_text(["search/index-key"])
    walk(page, ".row-link")

    page.keyboard.press("r")
    expect(page.locator("[data-row-value] code")).to_have_text("of-search")
    page.keyboard.press("r")
    expect(page.locator("[data-row-value]")).to_have_count(0)
    page.keyboard.press("c")

    expect(page.locator("#announcer")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "of-search"
    assert "of-search" not in page.content()


def test_a_value_in_a_row_hides_when_its_time_is_over(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    page = visitor.open("/secrets", user=cast.alice)
    page.clock.install()
    page.clock.pause_at(time.time() + 3600)
    page.get_by_role("button", name="Reveal payments/db").click()
    expect(page.locator("[data-row-value]")).to_be_visible()
    page.clock.run_for(1_000)

    page.clock.run_for(28_000)
    expect(page.locator("[data-row-value]")).to_be_visible()
    page.clock.run_for(3_000)

    expect(page.locator("[data-row-value]")).to_have_count(0)
    assert "s3cr3t-Kx9" not in page.content()


def test_filters_are_chosen_in_a_menu_by_keys_alone(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    page = visitor.open("/secrets", user=cast.alice)
    walk(page, ".filters-menu > summary")
    page.keyboard.press("Enter")
    walk(page, "#id_tag")
    page.keyboard.type("none-has-it")
    page.keyboard.press("Tab")

    expect(page.get_by_role("heading", level=2)).to_have_text("No results")
    expect(page.locator("#filter-count")).to_have_text("(1)")
    page.keyboard.press("Escape")
    expect(page.locator(".filters-panel")).to_be_hidden()
    expect(page.locator(".filters-menu > summary")).to_be_focused()


def test_another_environment_changes_the_whole_page(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    page = visitor.open("/secrets", user=cast.alice)

    page.get_by_label("Environment", exact=True).select_option("development")

    page.wait_for_url("**/secrets?environment=development")
    expect(page.locator(".switcher > summary")).to_contain_text("development")


def test_deleted_secrets_are_in_the_trash(visitor: Visitor, cast: Cast, secret: Make) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret(name="payments/db"))
    page = visitor.open("/secrets", user=cast.alice)

    page.get_by_role("navigation", name="View").get_by_role("link", name="Trash").click()
    expect(page.locator(".row-link")).to_have_text(["payments/db"])
    page.get_by_label("Select payments/db").check()
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("button", name="Restore 1 secret").click()
    page.get_by_role("link", name="Done").click()

    expect(page.get_by_role("heading", level=2)).to_have_text("Trash is empty")
