"""What people come to do with secrets, from where they start to where they are done."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import FilePayload, Page, expect

from environments_app.tests.cast import Cast
from secrets_app.importing import service as importing
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from tests.browser import keys
from tests.browser.accessibility import Inspection
from tests.browser.effort import Effort
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
VALUE = "s3cr3t-Kx9"
SIZES = pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}


def kept_in(page: Any) -> str:
    """Return whatever the browser keeps or shows of a page: storage, address, title, text."""
    storage = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, document.cookie])"
    )
    return f"{storage} {page.url} {page.title()} {page.content()}"


@SIZES
def test_find_reveal_and_copy_by_the_keyboard_alone(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    secret(name="payments/db")
    secret(name="payments/stripe-key", value="other")
    page = visitor.open("/", user=cast.alice, phone=phone, **CLIPBOARD)
    effort = Effort(page)
    page.keyboard.press("/")
    page.keyboard.type("pay")
    # What is found for the first letters alone is just as much, and is replaced.
    expect(page.locator("#found .menu-item").last).to_have_text("See all results for “pay”")
    expect(page.locator("#found .menu-item")).to_have_count(3)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")
    # The part that names who viewed it is loaded by itself, and both requests use one connection here.
    page.wait_for_load_state("networkidle")

    page.keyboard.press("r")
    expect(page.locator("[data-value]")).to_have_text(VALUE)
    page.keyboard.press("r")
    page.keyboard.press("c")

    expect(page.locator("#announcer")).to_contain_text("Copied. Clipboard clears")
    assert page.evaluate("navigator.clipboard.readText()") == VALUE
    assert VALUE not in kept_in(page)
    # Two of them reveal and hide it, which copying does not need (docs/internals/design-language.md).
    assert effort.clicks == 0
    assert effort.keys <= 9


def test_a_known_secret_is_copied_by_two_clicks(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    page = visitor.open("/", user=cast.alice, **CLIPBOARD)
    effort = Effort(page)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Secrets").click()
    page.get_by_role("row", name="payments/db").get_by_role("button", name="Copy").click()
    expect(page.locator("#announcer")).to_contain_text("Copied. Clipboard clears")
    assert (effort.clicks, effort.keys) == (2, 0)


def test_a_copied_value_leaves_the_clipboard_again(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = visitor.open(f"/secrets/{secret().pk}", user=cast.alice, **CLIPBOARD)
    page.clock.install()
    page.keyboard.press("c")
    expect(page.locator("#announcer")).to_contain_text("Copied")

    page.clock.run_for(46_000)

    expect(page.locator("#announcer")).to_have_text("Clipboard cleared.")
    assert page.evaluate("navigator.clipboard.readText()") == ""


def test_a_row_of_the_list_is_copied_by_its_key(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="a")
    secret(name="b", value="of-b")
    page = visitor.open("/secrets", user=cast.alice, **CLIPBOARD)
    for key in ("j", "j", "c"):
        page.keyboard.press(key)
    expect(page.locator("#announcer")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "of-b"


def test_one_field_is_revealed_alone(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(value='{"user": "pay", "password": "pw-Kx9-4d1f"}', secret_type=SecretType.JSON)
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice)
    page.get_by_role("button", name="Key/value view").click()
    page.get_by_role("button", name="Reveal user").click()

    expect(page.locator(".value-fields code")).to_have_text(["pay"])
    # Long enough not to stand in a random token by chance.
    assert "pw-Kx9-4d1f" not in page.content()


@SIZES
def test_an_edit_that_met_another_loses_nothing_by_the_keyboard_alone(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    stored = secret()
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, phone=phone)
    visitor.watch(page).expect("422")
    page.wait_for_load_state()
    with page.expect_navigation():
        page.keyboard.press("e")
    page.wait_for_load_state()
    keys.fill(page, "#id_value", "mine-1")
    keys.fill(page, "#id_owner", "my-team")
    write.update(actor=cast.principal(cast.erin), secret=stored, value="theirs-1", owner="their-team")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.wait_for_load_state()

    expect(page.get_by_role("alert")).to_contain_text("while you were editing")
    expect(page.locator("#id_value")).to_have_value("mine-1")
    assert "mine-1" not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    keys.follow(page, "main form button[type=submit].btn-primary")

    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")
    numbers = SecretVersion.objects.filter(secret=stored).values_list("number", flat=True)
    assert sorted(numbers) == [1, 2, 3]


@SIZES
def test_import_two_hundred_and_fix_three_by_the_keyboard_alone(
    visitor: Visitor, cast: Cast, phone: bool
) -> None:
    text = (
        "".join(f"KEY_{number}=value-{number}\n" for number in range(197)) + "bad name=1\n/slash=2\nEMPTY=\n"
    )
    page = visitor.open("/secrets/import?environment=development", user=cast.alice, phone=phone)
    page.wait_for_load_state()
    keys.walk(page, "#id_text")
    # As one pastes.
    page.keyboard.insert_text(text)
    keys.walk(page, "button[value=preview]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Import 197 secrets")).to_be_visible()
    assert "value-1" not in page.content()
    assert Secret.objects.count() == 0

    keys.fill(page, "[aria-label='Name of entry 198']", "good-name")
    keys.fill(page, "[aria-label='Value of entry 198']", "1")
    keys.fill(page, "[aria-label='Name of entry 199']", "slash")
    keys.fill(page, "[aria-label='Value of entry 200']", "filled")
    keys.walk(page, "button[value=preview]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Import 200 secrets")).to_be_visible()
    keys.walk(page, "button[value=import]")
    page.keyboard.press("Enter")

    expect(page.get_by_role("status").filter(has_text="Imported 200 secrets")).to_be_visible()
    assert Secret.objects.count() == 200
    assert "filled" not in kept_in(page)


def test_the_type_of_an_imported_value_is_guessed_and_corrected(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/import?environment=development", user=cast.alice)
    page.locator("#id_text").fill("DB_PASSWORD=one\nSMTP_PASSWORD=two\n")
    page.locator("button[value=preview]").click()
    kind = page.get_by_label("Type of SMTP_PASSWORD")
    expect(kind).to_have_value("")
    kind.select_option("TEXT")
    expect(page.locator("button[value=import]")).to_be_disabled()
    page.locator("button[value=preview]").click()
    expect(page.get_by_label("Type of SMTP_PASSWORD")).to_have_value("TEXT")
    page.get_by_role("button", name="Import 2 secrets").click()

    expect(page.get_by_role("status").filter(has_text="Imported 2 secrets")).to_be_visible()
    assert dict(Secret.objects.values_list("name", "secret_type")) == {
        "DB_PASSWORD": "PASSWORD",
        "SMTP_PASSWORD": "TEXT",
    }


def test_a_click_that_takes_the_focus_from_the_link_to_the_actions_is_not_lost(
    visitor: Visitor, cast: Cast
) -> None:
    page = visitor.open("/secrets/import?environment=development", user=cast.alice)
    page.locator("#id_text").fill("A=1\nB=2\n")
    page.locator("button[value=preview]").click()
    again = page.locator("button[value=preview]")
    expect(again).to_have_text("Preview again")
    page.locator("#id_text").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the actions")).to_be_focused()
    with page.expect_request(lambda request: request.method == "POST", timeout=5_000):
        again.click()


def test_the_page_takes_the_colour_of_the_environment_that_its_form_chooses(
    visitor: Visitor, cast: Cast
) -> None:
    cast.production.colour = "red"
    cast.production.save()
    page = visitor.open("/secrets/import", user=cast.alice)
    expect(page.locator(".switcher > summary")).to_contain_text("All environments")
    page.locator("#id_environment").select_option("production")
    expect(page.locator("body")).to_have_class("app in-environment env-red")
    expect(page.locator(".switcher > summary .environment-name")).to_have_text("production")
    expect(page.locator(".switcher > summary")).not_to_contain_text("All environments")
    page.locator("#id_environment").select_option("")
    expect(page.locator("body")).to_have_class("app")
    expect(page.locator(".switcher > summary")).to_contain_text("All environments")


def test_corrections_of_an_import_are_without_barriers(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="DB_PASSWORD", value="older")
    secret(name="SAME", value="same")
    text = f"DB_PASSWORD=one\nSAME=same\nbad name=1\n/slash=2\nEMPTY=\nA{'_LONG_NAME' * 12}=\n"
    page = visitor.open("/secrets/import?environment=development", user=cast.alice)
    inspection = Inspection(visitor)
    page.locator("#id_text").fill(text)
    page.locator("button[value=preview]").click()
    page.get_by_label("Name of entry 3").wait_for()
    inspection.look_at(page, "import-to-correct")
    page.get_by_label("Name of entry 4").fill("good-name")
    page.locator("button[value=preview]").click()
    expect(page.get_by_role("button", name="Import 2 secrets")).to_be_visible()
    inspection.look_at(page, "import-corrected")
    page.locator("#id_text").fill(text.replace("/slash=2\n", ""))
    page.locator("button[value=preview]").click()
    expect(page.get_by_text("1 correction dropped")).to_be_visible()
    inspection.look_at(page, "import-correction-dropped")
    page.locator("button[value=import]").click()
    expect(page.get_by_role("heading", name="Not imported")).to_be_visible()
    expect(page.locator(".item-results")).to_contain_text("Line 3")
    inspection.look_at(page, "import-not-all")
    assert inspection.found == {}


def test_a_long_import_goes_on_by_itself(
    visitor: Visitor, cast: Cast, secret: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_SECONDS", 0)
    for name in ("a", "b", "c"):
        secret(name=name)
    page = visitor.open("/secrets/import?environment=development", user=cast.alice)
    file: FilePayload = {"name": "secrets.env", "mimeType": "text/plain", "buffer": b"a=1\nb=2\nc=\nnew=n\n"}
    # A file is previewed as soon as it is chosen.
    page.locator("#id_file").set_input_files(file)
    page.locator("[aria-label='Value of entry 3']").fill("3")
    page.locator("button[value=preview]").click()
    page.get_by_role("button", name="Import 4 secrets").click()
    expect(page.get_by_role("status").filter(has_text="Imported 4 secrets.")).to_be_visible()
    numbers = Secret.objects.values_list("name", "current_number")
    assert dict(numbers) == {"a": 2, "b": 2, "c": 2, "new": 1}


@SIZES
def test_compare_and_promote(visitor: Visitor, cast: Cast, secret: Make, phone: bool) -> None:
    secret(name="new")
    secret(name="same", value="s")
    secret(name="same", value="s", environment=cast.production)
    page = visitor.open("/environments", user=cast.alice, phone=phone)
    if phone:
        page.get_by_label("More actions").locator("visible=true").click()
    page.get_by_role("link", name="Compare").click()
    if phone:
        page.get_by_label("More actions").locator("visible=true").click()
    page.get_by_role("button", name="Only differences").click()
    expect(page.locator("tbody th")).to_have_text(["new"])
    page.get_by_role("checkbox", name="Select new").check()
    page.get_by_role("button", name="Promote…").click()
    page.get_by_role("button", name="Promote 1 secret").click()

    expect(page.get_by_role("status").filter(has_text="1 of 1 promoted")).to_be_visible()
    assert Secret.objects.filter(environment=cast.production, name="new").exists()


@SIZES
def test_share_once(visitor: Visitor, cast: Cast, secret: Make, phone: bool) -> None:
    stored = secret()
    sharer = visitor.open(f"/secrets/{stored.pk}/share", user=cast.alice, phone=phone)
    sharer.get_by_label("Recipient").fill("charlie")
    sharer.get_by_role("button", name="Create link").press("Enter")
    link = sharer.locator(".secret-once code").inner_text().removeprefix(visitor.site)
    page = visitor.open(link, user=cast.charlie, phone=phone)
    assert VALUE not in page.content()
    page.get_by_role("button", name="View secret").press("Enter")
    expect(page.locator("[data-value]")).to_have_text(VALUE)

    visitor.watch(page).expect("410")
    page.goto(link)

    expect(page.get_by_role("heading", level=1)).to_have_text("This link has expired")
    expect(page.get_by_text("This link was already used or has expired.")).to_be_visible()
    page.go_back()
    assert VALUE not in page.content()


def test_many_are_chosen_previewed_and_deleted(visitor: Visitor, cast: Cast, secret: Make) -> None:
    for name in ("a", "b", "c"):
        secret(name=name)
    page = visitor.open("/secrets?environment=development", user=cast.alice)
    expect(page.locator("[data-selection-bar]")).to_be_hidden()
    page.get_by_role("checkbox", name="Select all on this page").check()
    page.get_by_role("checkbox", name="Select b").uncheck()
    expect(page.locator("[data-selected]")).to_have_text("2 selected")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete 2 secrets").click()

    expect(page.get_by_role("status").filter(has_text="2 of 2 deleted")).to_be_visible()
    assert list(Secret.objects.filter(live=True).values_list("name", flat=True)) == ["b"]
    page.get_by_role("link", name="Done").click()
    expect(page).to_have_url(f"{visitor.site}/secrets?environment=development")


def _settled(page: Page) -> str:
    """Return what a page shows once it no longer goes anywhere: until then it has no content to read."""
    while True:
        with suppress(PlaywrightError):
            return page.content()
        page.wait_for_timeout(100)


def test_after_sign_out_back_shows_nothing(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret()
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second-Zz1")
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice)
    page.get_by_role("button", name="Reveal", exact=True).click()
    expect(page.locator("[data-value]")).to_have_text("second-Zz1")
    page.goto(f"/secrets/{stored.pk}/diff")
    page.get_by_role("button", name="Compare with values").click()
    expect(page.locator(".diff")).to_contain_text(VALUE)
    visitor.watch(page).expect("ERR_CACHE_MISS")
    page.locator("summary.person").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")

    for _ in range(4):
        # What was answered to a form is asked for anew, which the browser does not do unasked.
        with suppress(PlaywrightError):
            page.go_back()
        seen = f"{page.url} {_settled(page)}"
        assert VALUE not in seen
        assert "second-Zz1" not in seen
    page.goto("/sign-in")
    assert "second-Zz1" not in kept_in(page)
    assert page.evaluate("caches.keys()") == []
