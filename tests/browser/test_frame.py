import pytest
from playwright.sync_api import Page, expect

from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.tests.kept import keep
from tests.browser.accessibility import barriers
from tests.browser.visitor import Visitor


def test_the_rail_marks_where_one_is(page: Page) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Secrets").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")
    expect(page.locator(".rail [aria-current=page]")).to_have_text("Secrets")


def test_an_environment_colours_the_pages_inside_it(page: Page, cast: Cast) -> None:
    Environment.objects.filter(pk=cast.production.pk).update(colour="red")
    production = Environment.objects.get(pk=cast.production.pk)
    production.protected = True
    production.save()

    page.goto("/secrets?environment=production")

    assert "env-red" in (page.locator("body").get_attribute("class") or "")
    expect(page.locator(".switcher summary")).to_contain_text("production")
    expect(page.locator(".switcher summary").get_by_label("protected")).to_be_visible()


def test_the_switcher_opens_without_scripts(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/", user=cast.alice, java_script_enabled=False)

    page.locator(".switcher summary").click()
    page.locator(".switcher .menu-panel").get_by_role("link", name="development").click()

    page.wait_for_url("**/secrets?environment=development")


def test_escape_closes_a_menu_and_returns_the_focus(page: Page) -> None:
    summary = page.locator(".switcher summary")
    summary.click()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent.trim()") == "All environments"

    page.keyboard.press("Escape")

    expect(page.locator(".switcher .menu-panel")).to_be_hidden()
    expect(summary).to_be_focused()


def test_the_first_tab_offers_to_skip_the_rail(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()

    page.keyboard.press("Enter")

    expect(page.locator("#main")).to_be_focused()


def test_the_question_mark_lists_the_keys_and_escape_closes_the_list(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()

    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(visitor: Visitor, cast: Cast, system: str) -> None:
    page = visitor.open("/", user=cast.alice, color_scheme=system)
    ground = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(ground)
    assert first == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 18, 22)"}[system]

    page.locator(".topbar [data-theme-toggle]").first.click()
    assert page.evaluate(ground) != first
    page.reload()

    assert page.evaluate(ground) != first
    kept = page.evaluate("Object.entries({...localStorage})")
    assert kept == [["theme", "dark" if system == "light" else "light"]]


def test_signing_out_ends_at_the_sign_in_page(page: Page) -> None:
    page.locator("summary.person").click()
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_what_does_not_exist_gets_a_page_that_leads_back(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/", user=cast.alice)
    visitor.watch(page).expect("status of 404")

    page.goto("/secrets/987654")
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
    page.get_by_role("link", name="Back to Keeper").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_names_keep_room_beside_the_other_columns_on_a_phone(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/environments/development/access", user=cast.alice, phone=True)
    room = "each => each.getBoundingClientRect().width / parseFloat(getComputedStyle(each).fontSize)"

    names = page.locator(".list tbody .name")

    assert names.count() > 0
    assert all(each.evaluate(room) >= 6 for each in names.all())


def test_the_palette_finds_pages_environments_actions_and_secrets_by_keyboard(
    visitor: Visitor, cast: Cast
) -> None:
    secret = keep(cast, "payments/stripe-key")
    page = visitor.open("/profile", user=cast.alice)

    page.keyboard.press("Control+k")
    palette = page.locator("#palette")
    field = palette.get_by_role("combobox")
    expect(field).to_be_focused()
    page.keyboard.type("rotat")
    expect(palette.get_by_role("option", selected=True)).to_contain_text("Rotation")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rotation")

    page.keyboard.press("Control+k")
    page.keyboard.type("stripe")
    expect(palette.get_by_role("option").first).to_contain_text("payments/stripe-key")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/secrets/{secret.pk}")

    page.keyboard.press("Control+k")
    page.keyboard.type("no such thing at all")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_a_token_in_the_search_is_not_sent(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/profile", user=cast.alice)
    token, sent = f"kpr_{'a' * 22}_{'b' * 43}", list[str]()
    page.on("request", lambda request: sent.append(request.url))
    for path, form in (("/profile", "form[data-search-everywhere]"), ("/secrets", "form.filters")):
        page.goto(visitor.site + path)
        field = page.locator(f"{form} [name=q]")
        field.fill(token)
        field.press("Enter")
        page.wait_for_timeout(400)
        assert "looks like a token" in field.evaluate("field => field.validationMessage")
    page.keyboard.press("Control+k")
    page.keyboard.type(token)
    page.wait_for_timeout(400)
    assert not any("kpr_" in url for url in [*sent, page.url])


def test_the_palette_fits_a_phone(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/profile", user=cast.alice, phone=True)
    palette = page.locator("#palette")
    page.keyboard.press("Control+k")
    expect(palette.get_by_role("option").first).to_be_visible()
    assert barriers(page) == []


def test_switching_keeps_the_page_and_is_remembered(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/sync", user=cast.alice)

    page.locator(".switcher summary").click()
    page.locator(".switcher .menu-panel").get_by_role("link", name="production").click()
    page.wait_for_url("**/sync?environment=production")
    page.locator(".rail").get_by_role("link", name="Activity").click()

    page.wait_for_url("**/activity?environment=production")
    expect(page.locator(".switcher summary")).to_contain_text("production")


def test_the_reference_of_the_api_is_a_page_like_others(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/api/docs", user=cast.alice, color_scheme="dark")
    expect(page.get_by_role("heading", level=1)).to_have_text("API reference")
    expect(page.locator(".opblock-tag").first).to_be_visible()
    visitor.shoot(page, "api-reference-dark")
