import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.types.registry import SecretType
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]


def open_secret(visitor: Visitor, cast: Cast, secret: Secret, **options: Any) -> Page:
    return visitor.open(f"/secrets/{secret.pk}", user=cast.alice, **options)


def test_a_value_is_masked_until_it_is_revealed(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret())
    assert "s3cr3t-Kx9" not in page.content()

    page.get_by_role("button", name="Reveal", exact=True).click()

    expect(page.locator("[data-value]")).to_have_text("s3cr3t-Kx9")


def test_a_value_is_shown_and_copied_to_the_letter(visitor: Visitor, cast: Cast, secret: Make) -> None:
    value = "\n  <b>&amp;\r\nsecond\rthird\ttab  \n"
    stored = secret(value=value, secret_type=SecretType.TEXT)
    page = open_secret(visitor, cast, stored, permissions=["clipboard-read", "clipboard-write"])

    page.get_by_role("button", name="Reveal", exact=True).click()
    expect(page.locator("[data-value]")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-value]').textContent") == value
    page.locator("[data-copy-value]").click()

    expect(page.locator("#announcer")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == value


def test_a_value_masks_itself_again_when_its_time_is_over(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret())
    # A clock that stands, since two seconds would pass by themselves on a busy machine.
    page.clock.install()
    page.clock.pause_at(time.time() + 3600)
    page.get_by_role("button", name="Reveal", exact=True).click()
    expect(page.locator("[data-value]")).to_be_visible()
    # It counts from the moment that htmx is done with it.
    page.clock.run_for(1_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.clock.run_for(28_000)
    expect(page.locator("[data-value]")).to_be_visible()
    page.clock.run_for(3_000)

    expect(page.locator("#value .masked")).to_be_visible()
    assert "s3cr3t-Kx9" not in page.content()
    assert asked == []


def test_a_value_can_be_masked_at_once(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret())
    page.keyboard.press("r")
    expect(page.locator("[data-value]")).to_be_visible()

    page.locator("#value").get_by_role("button", name="Hide").click()

    assert "s3cr3t-Kx9" not in page.content()
    button = page.locator("[data-reveal] button")
    expect(button).to_be_focused()
    expect(button).to_have_text("Reveal")
    button.click()
    expect(page.locator("[data-value]")).to_be_visible()
    expect(button).to_have_text("Hide")
    button.click()
    expect(button).to_have_text("Reveal")
    assert "s3cr3t-Kx9" not in page.content()


def test_a_value_is_revealed_without_scripts(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret(), java_script_enabled=False)

    page.get_by_role("button", name="Reveal", exact=True).click()

    expect(page.locator("[data-value]")).to_have_text("s3cr3t-Kx9")


def test_c_copies_without_showing(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret(), permissions=["clipboard-read", "clipboard-write"])

    page.keyboard.press("c")

    expect(page.locator("#announcer")).to_contain_text("Copied. Clipboard clears")
    assert page.evaluate("navigator.clipboard.readText()") == "s3cr3t-Kx9"
    assert "s3cr3t-Kx9" not in page.content()


def test_the_fields_of_a_document_are_shown_one_by_one(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(value='{"username": "payments_b", "password": "Kx9"}', secret_type=SecretType.JSON)
    page = open_secret(visitor, cast, stored)

    page.get_by_role("button", name="Reveal", exact=True).click()

    expect(page.locator(".value-fields code")).to_have_text(["payments_b", "Kx9"])


def test_an_earlier_version_is_rolled_back_to_after_a_question(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    stored = secret(value="first")
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second", comment="new")
    page = open_secret(visitor, cast, stored)

    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator(".version")).to_have_count(2)
    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()

    expect(page.locator(".version")).to_have_count(3)
    page.get_by_role("button", name="Reveal", exact=True).click()
    expect(page.locator("[data-value]")).to_have_text("first")


def test_a_protected_environment_asks_for_its_name(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(value="first", environment=cast.production)
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second", comment="new")
    cast.production.protected = True
    cast.production.save()
    page = open_secret(visitor, cast, stored)

    page.get_by_role("button", name="Roll back to version 1").click()
    go = page.get_by_role("dialog").get_by_role("button", name="Roll back")
    expect(go).to_be_disabled()
    page.keyboard.type("production")
    expect(go).to_be_enabled()
    page.keyboard.press("Enter")

    # Then it waits for a second person.
    expect(page.get_by_text("Approval requested.")).to_be_visible()
    assert stored.versions.count() == 2


def test_a_viewer_is_offered_no_value(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = visitor.open(f"/secrets/{secret().pk}", user=cast.vera)

    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")
    expect(page.get_by_role("button", name="Reveal")).to_have_count(0)
    expect(page.get_by_text("permission to view this value")).to_be_visible()


def test_a_value_is_kept_nowhere_in_the_browser(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret())
    page.get_by_role("button", name="Reveal", exact=True).click()
    expect(page.locator("[data-value]")).to_be_visible()

    page.goto("/secrets")

    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "s3cr3t-Kx9" not in kept
    page.go_back()
    assert "s3cr3t-Kx9" not in page.content()


def test_one_member_is_changed_from_the_present_value(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(value='{"host": "db", "password": "s3cr3t-Kx9"}', secret_type=SecretType.JSON)
    page = visitor.open(f"/secrets/{stored.pk}/edit", user=cast.alice)
    page.locator("#id_owner").fill("team-pay")
    page.get_by_role("button", name="Load current value").click()

    area = page.locator("#id_value")
    expect(area).to_have_value('{"host": "db", "password": "s3cr3t-Kx9"}')
    expect(area).to_have_class(re.compile("concealed"))
    visitor.shoot(page, "edit-filled-in")
    area.fill('{"host": "db-2", "password": "s3cr3t-Kx9"}')
    # Enter saves, whichever buttons there are.
    page.locator("#id_owner").press("Enter")

    expect(page.get_by_role("heading", name=stored.name)).to_be_visible()
    stored.refresh_from_db()
    assert (stored.current_number, stored.owner) == (2, "team-pay")


def test_a_reveal_shows_up_in_who_has_viewed_it(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret())
    expect(page.locator("#viewers")).to_contain_text("Never viewed")

    page.keyboard.press("r")

    expect(page.locator("#viewers")).to_contain_text("alice")
    expect(page.locator("#secret-activity")).to_contain_text("revealed")


def test_a_secret_is_copied_to_another_environment_from_its_menu(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    stored = secret()
    page = open_secret(visitor, cast, stored)
    page.locator("summary[aria-label='More actions']").press("Enter")
    page.get_by_role("button", name="Copy to environment…").press("Enter")
    page.get_by_label("To", exact=True).select_option("production")
    page.get_by_role("button", name="Preview").press("Enter")
    page.get_by_role("button", name="Copy 1 secret").press("Enter")

    expect(page.get_by_role("status").filter(has_text="1 of 1 copied")).to_be_visible()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(stored.name)


def test_a_button_shows_that_its_form_is_under_way(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = open_secret(visitor, cast, secret())
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/reveal", hold)
    button = page.locator("[data-reveal] button")
    button.click()
    expect(button).to_have_attribute("aria-busy", "true", timeout=2_000)
    expect(button).to_have_css("opacity", "0.65", timeout=2_000)
    while not held:
        page.wait_for_timeout(20)
    held.pop().continue_()
    expect(page.locator("[data-value]")).to_be_visible()
    expect(button).not_to_have_attribute("aria-busy", "true")


def test_a_form_that_was_not_sent_is_not_shown_as_under_way(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    stored = secret()
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second")
    page = open_secret(visitor, cast, stored)
    roll_back = page.get_by_role("button", name="Roll back to version 1")
    roll_back.click()
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    expect(page.locator("#confirm")).to_be_hidden()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_what_was_deleted_meanwhile_is_said_where_it_is_copied(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    stored = secret()
    page = open_secret(visitor, cast, stored, permissions=["clipboard-read", "clipboard-write"])
    lifecycle.delete(actor=cast.principal(cast.erin), secret=stored)
    visitor.watch(page).expect("412")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#announcer")).to_have_text("This secret is deleted. Restore it first.")
    page.get_by_role("button", name="Reveal", exact=True).click()
    expect(page.get_by_role("button", name="Restore")).to_be_visible()
    expect(page.locator("#main")).to_contain_text("payments/db was deleted. Restore it first.")
