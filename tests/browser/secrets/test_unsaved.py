"""A form that was filled in is not left without a question, whichever way leads away from it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from tests.browser import keys
from tests.browser.accessibility import Inspection
from tests.browser.sync import test_rotation_pages as rotation
from tests.browser.sync import test_sync_pages as sync
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
# Pages with a form, and a field of it.
FORMS = {
    "/secrets/{secret}/edit": "#id_value",
    "/secrets/{secret}/share": "[name=note]",
    "/secrets/import": "#id_text",
    "/environments/new": "[name=name]",
    "/environments/development#settings": "[name=display_name]",
    "/environments/development/members/{member}/change": "[name=expires_at]",
    "/environments/development/notifications": "[name=email]",
    "/access-requests/new": "[name=environment]",
    "/profile#password": "[name=password]",
}
SYNC_FORMS = {
    "/sync/new?backend=aws_secrets_manager": "[name=name]",
    "/sync/{target}/rules": "[name=budget_number]",
    "/sync/{target}/credentials": "main form[method=post] input:not([type=hidden])",
}
ROTATION_FORMS = {
    "/rotation/secrets/{secret}/new?rotator=mysql": "main form[method=post] input[type=text]",
    "/rotation/{policy}/rules": "main form[method=post] input[type=text]",
}
_OPEN = "field => { for (let at = field; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true; }"


def question(page: Page) -> None:
    expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")


def rail(page: Page) -> None:
    page.locator(".rail").get_by_role("link", name="Dashboard").click()


def asks_for_each(page: Page, forms: dict[str, str], rows: dict[str, int]) -> list[str]:
    """Return the pages that a rail link leaves without a question after something was entered."""
    silent = []
    for path, selector in forms.items():
        page.goto(path.format(**rows))
        field = page.locator(selector).first
        field.evaluate(_OPEN)
        if field.get_attribute("type") == "datetime-local":
            field.fill("2031-01-01T10:00")
        elif field.get_attribute("type") == "number":
            field.fill("77")
        elif field.get_attribute("type") == "radio":
            page.locator(selector).nth(1).check()
        else:
            field.fill("entered")
        rail(page)
        asked = page.locator("dialog#confirm[open]")
        if not asked.count():
            silent.append(path)
            continue
        page.get_by_role("button", name="Leave", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    return silent


@pytest.fixture
def edited(visitor: Visitor, cast: Cast, secret: Make) -> Page:
    """A page on which a value was entered."""
    page = visitor.open(f"/secrets/{secret().pk}/edit", user=cast.alice)
    page.wait_for_load_state()
    page.locator("#id_value").press_sequentially("entered")
    return page


def test_every_form_asks(visitor: Visitor, cast: Cast, secret: Make) -> None:
    cast.alice.role = "admin"
    cast.alice.save()
    member = cast.bob.memberships.get()
    page = visitor.open("/", user=cast.alice)
    assert asks_for_each(page, FORMS, {"secret": secret().pk, "member": member.pk}) == []


def test_the_forms_of_targets_ask(visitor: Visitor, cast: Cast) -> None:
    scene = sync.Scene(cast)
    page = visitor.open("/", user=cast.alice)
    assert asks_for_each(page, SYNC_FORMS, scene.rows) == []


def test_the_forms_of_rotation_ask(visitor: Visitor, cast: Cast) -> None:
    scene = rotation.Scene(cast)
    page = visitor.open("/", user=cast.alice)
    assert asks_for_each(page, ROTATION_FORMS, scene.rows) == []


def test_who_stays_loses_nothing(edited: Page) -> None:
    rail(edited)
    question(edited)

    edited.get_by_role("button", name="Stay").click()

    expect(edited.locator("#id_value")).to_have_value("entered")
    edited.get_by_role("link", name="Cancel").click()
    question(edited)
    edited.keyboard.press("Escape")
    expect(edited.locator("#id_value")).to_have_value("entered")


def test_the_keyboard_asks_as_well(edited: Page) -> None:
    keys.walk(edited, ".rail a[href^='/sync']", back=True)
    edited.keyboard.press("Enter")
    question(edited)
    edited.keyboard.press("Escape")
    # A shortcut presses the link that names its key.
    edited.evaluate("document.querySelector(\".rail a[href^='/rotation']\").dataset.key = 'x'")
    edited.locator("h1").click()
    edited.keyboard.press("x")
    question(edited)
    edited.get_by_role("button", name="Leave", exact=True).click()

    expect(edited.get_by_role("heading", level=1)).to_have_text("Rotation")


def test_the_browser_asks_before_the_page_is_closed(edited: Page) -> None:
    edited.on("dialog", lambda dialog: dialog.dismiss())
    with edited.expect_event("dialog") as asked:
        edited.close(run_before_unload=True)

    assert asked.value.type == "beforeunload"
    expect(edited.locator("#id_value")).to_have_value("entered")


def test_another_form_asks_before_it_is_sent(edited: Page) -> None:
    edited.locator(".topbar [data-search]").fill("pay")
    edited.keyboard.press("Enter")
    question(edited)
    edited.get_by_role("button", name="Leave", exact=True).click()
    edited.wait_for_url("**/secrets?q=pay")


def test_what_was_saved_or_put_back_is_left_without_a_question(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    page = visitor.open(f"/secrets/{secret().pk}/edit", user=cast.alice)
    page.locator("#id_owner").press_sequentially("x")
    page.locator("#id_owner").press("Backspace")
    rail(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    page.go_back()
    page.locator("#id_value").press_sequentially("entered")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved payments/db.")).to_be_visible()
    rail(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_a_refused_form_is_unsaved(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    visitor.watch(page).expect("status of 422")
    page.locator("#id_name").fill("../etc")
    page.locator("#id_value").fill("typed with care")
    page.get_by_role("button", name="Create secret").click()
    expect(page.get_by_text("Check the highlighted field")).to_be_visible()
    rail(page)
    question(page)


def test_a_wrong_password_leaves_nothing_to_save(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/profile#password", user=cast.alice)
    visitor.watch(page).expect("status of 422")
    for name in ("current", "password", "again"):
        page.locator(f"#password [name={name}]").fill("wrong-in-every-way")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".field-error").first).to_be_visible()
    rail(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_a_form_that_was_renewed_while_it_asked_says_that_nothing_was_sent(
    visitor: Visitor, cast: Cast
) -> None:
    scene = rotation.Scene(cast)
    page = visitor.open(f"/rotation/{scene.rows['policy']}", user=cast.alice)
    page.get_by_role("button", name="Rotate now").click()
    asked = page.locator("dialog#confirm[open]")
    expect(asked).to_be_visible()
    # As a part of the page does that renews itself.
    page.evaluate(
        "for (const each of document.querySelectorAll('main form')) each.replaceWith(each.cloneNode(true))"
    )
    asked.get_by_role("button", name="Rotate", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Nothing was sent; do it again.")
    # The form that took its place works.
    page.get_by_role("button", name="Rotate now").click()
    expect(asked).to_be_visible()


def test_without_its_script_the_dialog_of_the_session_sends_nothing(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/", user=cast.alice)
    methods = page.locator("#session form").evaluate_all("forms => forms.map(form => form.method)")
    assert methods == ["dialog", "dialog"]


def test_a_generated_value_is_unsaved_and_its_options_are_not(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    generator = page.locator("[data-generator=password]")
    generator.get_by_label("Length").fill("31")
    rail(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    page.goto("/secrets/new?environment=development")
    generator.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Generated. Save to keep it.")).to_be_visible()
    rail(page)
    question(page)


def test_an_import_that_was_done_is_left_without_a_question(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/import?environment=development", user=cast.alice)
    page.locator("#id_text").fill("KEY_A=value-a\n")
    page.locator("button[value=preview]").click()
    expect(page.get_by_role("button", name="Import 1 secret")).to_be_visible()
    rail(page)
    question(page)
    page.get_by_role("button", name="Stay").click()
    page.get_by_role("button", name="Import 1 secret").click()
    expect(page.get_by_role("status").filter(has_text="Imported 1 secret")).to_be_visible()
    rail(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_filters_and_searches_ask_nothing(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret()
    page = visitor.open("/secrets", user=cast.alice)
    page.locator(".filters [data-search]").fill("pay")
    page.get_by_label("Select all on this page").check()
    rail(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_an_expiry_in_the_past_is_warned_about_at_once(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    warning = page.get_by_text("This date is in the past.")
    expect(warning).to_be_hidden()
    page.locator(".more-fields > summary").click()
    page.locator("#id_expires_at").fill("2001-01-01T00:00")
    expect(warning).to_be_visible()
    page.locator("#id_expires_at").fill("2091-01-01T00:00")
    expect(warning).to_be_hidden()


def test_the_question_is_without_barriers(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = visitor.open(f"/secrets/{secret().pk}/edit", user=cast.alice, phone=True)
    inspection = Inspection(visitor)
    page.locator("#id_value").fill("entered")
    page.locator("#id_expires_at").fill("2001-01-01T00:00")
    page.locator("#id_expires_at").scroll_into_view_if_needed()
    inspection.look_at(page, "past-expiry")
    rail(page)
    question(page)
    inspection.look_at(page, "leave")
    assert inspection.found == {}
