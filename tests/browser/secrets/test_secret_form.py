import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from tests.browser.keys import fill as type_into
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]


def fill(page: Page, name: str, value: str) -> None:
    page.locator("#id_name").fill(name)
    page.locator("#id_value").fill(value)


def test_a_secret_is_created_and_revealed(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    fill(page, "payments/db", "line one\nline two")

    page.get_by_role("button", name="Create secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")
    page.get_by_role("button", name="Reveal", exact=True).click()

    expect(page.locator("[data-value]")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-value]').textContent") == "line one\nline two"


def test_a_secret_is_created_without_scripts(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice, java_script_enabled=False)
    fill(page, "payments/db", "plain")

    page.get_by_role("button", name="Create secret").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")


def test_a_generated_value_fills_the_form(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    value = page.locator("#id_value")

    page.locator("[data-generator=password]").get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Generated. Save to keep it.")).to_be_visible()
    expect(value).not_to_have_value("")
    first = value.input_value()
    page.locator("[data-generator=password]").get_by_role("button", name="Generate").click()
    expect(value).not_to_have_value(first)

    assert len(first) == len(value.input_value()) >= 16


def test_a_generated_value_does_not_replace_what_was_typed_unasked(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    value = page.locator("#id_value")
    value.fill("mine")

    page.locator("[data-generator=password]").get_by_role("button", name="Generate").click()
    replace = page.get_by_role("button", name="Use this value")
    expect(replace).to_be_visible()
    expect(value).to_have_value("mine")
    replace.click()

    expect(value).not_to_have_value("mine")


def test_a_value_is_hidden_while_it_is_typed(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    value = page.locator("#id_value")
    hidden = "element => getComputedStyle(element).webkitTextSecurity"
    assert value.evaluate(hidden) == "disc"

    page.get_by_role("button", name="Show").click()

    assert value.evaluate(hidden) == "none"


def test_a_refused_form_keeps_what_was_entered(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    visitor.watch(page).expect("status of 422")
    fill(page, "../etc", "typed with care")

    page.get_by_role("button", name="Create secret").click()

    expect(page.get_by_text("Check the highlighted field")).to_be_visible()
    expect(page.locator("#id_value")).to_have_value("typed with care")
    expect(page.locator("#id_name")).to_have_attribute("aria-describedby", "id_name_helptext id_name_error")


def test_a_change_that_came_first_is_told_and_nothing_is_lost(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    stored = secret()
    page = visitor.open(f"/secrets/{stored.pk}/edit", user=cast.alice)
    visitor.watch(page).expect("status of 422")
    write.update(actor=cast.principal(cast.erin), secret=stored, value="theirs", comment="")
    page.locator("#id_value").fill("mine")

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("aren't saved yet")).to_be_visible()
    expect(page.locator("#id_value")).to_have_value("mine")
    page.get_by_role("button", name="Save").click()

    expect(page.locator(".version")).to_have_count(3)


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_the_public_part_of_a_key_is_copied_to_the_letter(
    visitor: Visitor, cast: Cast, *, phone: bool
) -> None:
    allowed = ["clipboard-read", "clipboard-write"]
    page = visitor.open("/secrets/new", user=cast.alice, phone=phone, permissions=allowed)
    generator = page.locator("[data-generator=csr]")
    expect(generator).to_be_hidden()
    page.get_by_role("button", name="Other kinds of value").click()
    generator.locator("summary").click()
    generator.locator("[name=common_name]").fill("payments.example.com")
    generator.get_by_role("button", name="Generate").click()
    public = page.locator(".generated-public code")
    expect(public).to_contain_text("BEGIN CERTIFICATE REQUEST")
    text = public.text_content()

    page.get_by_role("button", name="Copy public part").click()

    expect(page.locator("#announcer")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == text
    # Marked by hand it has the lines it needs, and it pushes nothing sideways.
    assert public.inner_text().strip() == str(text).strip()
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    assert "stores the private value only" in page.locator("#generated").inner_text()


def test_the_field_of_a_value_fits_its_type(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    value = page.locator("#id_value")
    line = value.bounding_box()
    page.get_by_label("Type", exact=True).select_option("JSON")
    tall = value.bounding_box()
    assert line is not None
    assert tall is not None
    assert line["height"] * 3 < tall["height"]
    expect(page.locator("[data-generator=json]")).to_have_attribute("open", "")
    # Of the generators, those of the type.
    expect(page.locator("[data-generator]:visible")).to_have_count(1)

    value.fill('{"a":1,}')
    page.get_by_role("button", name="Validate").click()
    expect(page.locator("#checked")).to_contain_text(re.compile(r"Invalid JSON at line 1, column \d"))
    value.fill('{"a":1}')
    page.get_by_role("button", name="Format").click()

    expect(value).to_have_value('{\n  "a": 1\n}')


def test_a_file_fills_the_value(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)

    page.locator("[data-value-file]").set_input_files(
        {"name": "key.pem", "mimeType": "text/plain", "buffer": b"one\ntwo\n"}
    )

    expect(page.locator("#id_value")).to_have_value("one\ntwo\n")
    expect(page.locator("#checked")).to_have_text("Loaded key.pem. Save to keep it.")


def test_a_secret_is_created_by_the_keyboard_alone(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets?environment=development", user=cast.alice)
    page.keyboard.press("n")
    page.wait_for_url("**/secrets/new?environment=development")
    # What is typed next is the name, and no shortcut.
    expect(page.locator("#id_name")).to_be_focused()
    type_into(page, "#id_name", "payments/db")
    type_into(page, "#id_value", "by-keys-Kx9")

    with page.expect_navigation():
        page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")
