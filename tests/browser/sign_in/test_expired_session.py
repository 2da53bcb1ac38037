"""A session that ends while a page is open: what was entered is kept, and sent after the person signs in again."""

import re
import time
from base64 import b32decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_otp.oath import hotp
from playwright.sync_api import Page, expect

from environments_app.authentication import second_factor
from environments_app.models import Session, User
from environments_app.tests.cast import PASSWORD, Cast
from secrets_app.models import Secret
from secrets_app.services import read, write
from tests.browser import keys
from tests.browser.accessibility import Inspection
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
SIZES = pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])


def end_session(user: User) -> None:
    """End every session of a person, as another tab or an administrator does."""
    assert Session.objects.filter(user=user).delete()[0]


def sign_in(page: Page, password: str = PASSWORD) -> None:
    """Sign in again in the dialog of the page."""
    dialog = page.locator("dialog#session")
    expect(dialog).to_contain_text("Your session has expired")
    dialog.get_by_label("Password").fill(password)
    dialog.get_by_role("button", name="Sign in", exact=True).click()


def value_of(cast: Cast, page: Page, secret: Secret) -> str:
    """Return a value that is stored, once the page asks for no further part: both use one connection."""
    page.wait_for_load_state("networkidle")
    return read.reveal(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk)).value


def stored_in(page: Page) -> str:
    """Return whatever the browser keeps beside the document itself."""
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, location.href, document.cookie])"
    return f"{page.evaluate(kept)} {page.evaluate('caches.keys().then(JSON.stringify)')} {page.context.cookies()}"


@pytest.fixture(autouse=True)
def _polls_meet_the_end(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll of the page may come while the session is over, or while the test ends it: 401, or 503 for a lock."""
    opened = visitor.open

    def open_and_expect(*args: Any, **options: Any) -> Page:
        page = opened(*args, **options)
        visitor.watch(page).expect("401")
        visitor.watch(page).expect("503")
        return page

    monkeypatch.setattr(visitor, "open", open_and_expect)


@SIZES
def test_an_edit_is_saved_after_signing_in_again(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    stored = secret()
    page = visitor.open(f"/secrets/{stored.pk}/edit", user=cast.alice, phone=phone)
    page.locator("#id_value").fill("typed-with-care")
    page.locator("#id_description").fill("typed as well")
    end_session(cast.alice)

    page.get_by_role("button", name="Save").click()
    sign_in(page)

    expect(page.get_by_role("status").filter(has_text="Saved payments/db.")).to_be_visible()
    assert value_of(cast, page, stored) == "typed-with-care"
    assert Secret.objects.get(pk=stored.pk).description == "typed as well"


def test_a_new_secret_is_saved_by_the_keyboard_alone(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice)
    page.wait_for_load_state()
    keys.fill(page, "#id_name", "payments/new")
    keys.fill(page, "#id_value", "typed-with-care")
    end_session(cast.alice)

    keys.walk(page, "#secret-form button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.locator("#session-password")).to_be_focused()
    assert "typed-with-care" not in stored_in(page)
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("dialog#session").get_by_role("alert")).to_contain_text(
        "Incorrect username or password."
    )
    expect(page.locator("#session-password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("payments/new")
    assert value_of(cast, page, Secret.objects.get(name="payments/new")) == "typed-with-care"


def test_a_roll_back_is_done_after_signing_in_again(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(value="first")
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second", comment="new")
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice)
    end_session(cast.alice)

    page.get_by_role("button", name="Roll back to version 1").click()
    page.locator("#confirm-go").click()
    sign_in(page)

    expect(page.get_by_role("status").filter(has_text="Rolled back to v1")).to_be_visible()
    assert value_of(cast, page, stored) == "first"


def test_a_bulk_action_is_done_after_signing_in_again(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="a")
    secret(name="b")
    page = visitor.open("/secrets", user=cast.alice)
    page.get_by_label("Select all on this page").check()
    end_session(cast.alice)

    page.get_by_role("button", name="Add tags…").click()
    sign_in(page)
    page.get_by_label("Tags").fill("moved")
    end_session(cast.alice)
    page.locator("button[name=step][value=preview]").click()
    sign_in(page)
    page.locator("button[name=step][value=apply]").click()

    expect(page.get_by_text("2 of 2 tagged")).to_be_visible()
    assert all(row.tags == ["moved"] for row in Secret.objects.all())


def test_another_person_who_signs_in_sends_nothing(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret()
    page = visitor.open(f"/secrets/{stored.pk}/edit", user=cast.alice)
    page.locator("#id_value").fill("typed by alice")
    page.context.clear_cookies()
    other = page.context.new_page()
    other.goto("/sign-in")
    other.get_by_label("Username").fill("root")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in", exact=True).click()
    expect(other.get_by_role("heading", level=1)).to_have_text("Dashboard")

    page.bring_to_front()
    page.get_by_role("button", name="Save").click()

    dialog = page.locator("dialog#session")
    expect(dialog).to_contain_text("Another person is signed in")
    expect(dialog).to_contain_text(
        "root is signed in in this browser now. This page is of alice: nothing was sent."
    )
    assert value_of(cast, page, stored) == "s3cr3t-Kx9"
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Saved payments/db.")).to_be_visible()
    assert value_of(cast, page, stored) == "typed by alice"
    assert not Session.objects.filter(user=cast.root).exists()


def test_a_sign_in_in_a_second_tab_is_noticed(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret()
    page = visitor.open(f"/secrets/{stored.pk}/edit", user=cast.alice)
    page.locator("#id_value").fill("typed-with-care")
    end_session(cast.alice)
    page.get_by_role("button", name="Save").click()

    with page.context.expect_page() as opened:
        page.locator("dialog#session").get_by_role("link", name="Sign in in a new tab").click()
    tab = opened.value
    tab.get_by_label("Username").fill("alice")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in", exact=True).click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("You are signed in")
    page.bring_to_front()

    expect(page.get_by_role("status").filter(has_text="Saved payments/db.")).to_be_visible()
    assert value_of(cast, page, stored) == "typed-with-care"


def test_who_does_not_sign_in_now_keeps_the_page(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = visitor.open(f"/secrets/{secret().pk}/edit", user=cast.alice)
    page.locator("#id_value").fill("typed-with-care")
    end_session(cast.alice)
    page.get_by_role("button", name="Save").click()

    page.get_by_role("button", name="Dismiss").click()

    expect(page.locator("#id_value")).to_have_value("typed-with-care")
    notice = page.locator("#session-notice")
    expect(notice).to_contain_text("Your session has expired. Sign in again.")
    notice.get_by_role("button", name="Sign in again").click()
    sign_in(page)
    expect(notice).to_be_hidden()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved payments/db.")).to_be_visible()


def test_copy_and_reveal_ask_to_sign_in_again(visitor: Visitor, cast: Cast, secret: Make) -> None:
    allowed: Any = {"permissions": ["clipboard-read", "clipboard-write"]}
    page = visitor.open(f"/secrets/{secret().pk}", user=cast.alice, **allowed)
    end_session(cast.alice)
    page.keyboard.press("c")
    sign_in(page)
    expect(page.locator("#announcer")).to_have_text("You are signed in again.")
    page.keyboard.press("c")
    expect(page.locator("#announcer")).to_contain_text("Copied. Clipboard clears")
    end_session(cast.alice)

    page.get_by_role("button", name="Reveal", exact=True).click()
    sign_in(page)

    expect(page.locator("[data-value]")).to_have_text("s3cr3t-Kx9")


def test_a_filter_says_that_the_session_has_expired(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret()
    page = visitor.open("/secrets", user=cast.alice)
    visitor.watch(page).expect("401")
    end_session(cast.alice)

    page.locator(".filters [data-search]").fill("pay")

    expect(page.locator("#session-notice")).to_contain_text("Your session has expired. Sign in again.")
    expect(page.locator("tbody .row-link")).to_have_count(1)


def test_without_scripts_the_sign_in_says_so_and_leads_back(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    stored = secret(value="first")
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second", comment="new")
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, java_script_enabled=False)
    end_session(cast.alice)

    page.get_by_role("button", name="Roll back to version 1").click()

    expect(page.get_by_role("status")).to_have_text("Your session expired. Nothing was saved.")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("payments/db")
    assert page.url.endswith(f"/secrets/{stored.pk}")


# --- Before it ends ---------------------------------------------------------------------------------


def leave_unused(user: User, seconds_left: int) -> None:
    ago = timedelta(seconds=3600 - seconds_left)
    assert Session.objects.filter(user=user).update(last_seen_at=timezone.now() - ago)


def clocked(visitor: Visitor, path: str, user: User, **options: Any) -> Page:
    """Open a page whose clock the test moves."""
    page = visitor.open("/signed-in", user=user, **options)
    page.clock.install()
    page.goto(path)
    page.wait_for_load_state()
    return page


def test_two_minutes_before_the_end_it_offers_to_stay_signed_in(
    visitor: Visitor, cast: Cast, settings: Any
) -> None:
    settings.KEEPER_SESSION_IDLE_SECONDS = 3600
    page = clocked(visitor, "/secrets/new", cast.alice)
    notice = page.locator("#session-notice")
    page.clock.run_for(57 * 60_000)
    expect(notice).to_be_hidden()
    leave_unused(cast.alice, 110)
    page.clock.run_for(70_000)

    expect(notice).to_contain_text(re.compile(r"Your session ends at .+ because it is not used\."))
    # The question itself has not extended it.
    assert Session.objects.get(user=cast.alice).last_seen_at < timezone.now() - timedelta(minutes=50)
    notice.get_by_role("button", name="Stay signed in").click()
    expect(page.locator("#announcer")).to_have_text("You stay signed in.")
    expect(notice).to_be_hidden()
    assert Session.objects.get(user=cast.alice).last_seen_at > timezone.now() - timedelta(minutes=2)


def test_an_end_that_cannot_be_put_off_is_said(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new", user=cast.alice)
    Session.objects.filter(user=cast.alice).update(expire_date=timezone.now() + timedelta(seconds=100))
    page.reload()

    expect(page.locator("#session-notice")).to_contain_text("cannot be extended. Save your work.")
    expect(page.get_by_role("button", name="Stay signed in")).to_be_hidden()


def test_a_page_that_outlives_its_session_says_so(visitor: Visitor, cast: Cast) -> None:
    page = clocked(visitor, "/secrets/new", cast.alice)
    end_session(cast.alice)
    page.clock.run_for(61 * 60_000)

    expect(page.locator("#session-notice")).to_contain_text("Your session has expired. Sign in again.")


def test_a_second_factor_is_asked_for_in_the_dialog(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret()
    actor = cast.principal(cast.alice)
    seed = second_factor.begin(actor=actor, user=cast.alice).secret
    now = hotp(b32decode(seed), int(time.time()) // 30)
    recovery = second_factor.enrol(actor=actor, user=cast.alice, code=f"{now:06d}")
    page = visitor.open(f"/secrets/{stored.pk}/edit", user=User.objects.get(pk=cast.alice.pk))
    page.locator("#id_value").fill("typed-with-care")
    end_session(cast.alice)
    page.get_by_role("button", name="Save").click()
    sign_in(page)
    code = page.locator("#session-code")
    expect(code).to_be_focused()

    code.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("[data-session-error]")).to_contain_text("Invalid or already used code")
    code.fill(recovery[0])
    page.keyboard.press("Enter")

    expect(page.get_by_role("status").filter(has_text="Saved payments/db.")).to_be_visible()
    assert value_of(cast, page, stored) == "typed-with-care"


# --- The admin --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_form_of_the_admin_is_kept_as_well(visitor: Visitor, cast: Cast, phone: bool) -> None:
    page = visitor.open("/admin/environments_app/environment/add/", user=cast.root, phone=phone)
    page.locator("#id_name").fill("typed-with-care")
    page.locator(".topbar a.bell").click()
    expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")
    visitor.shoot(page, f"admin-leave-{'phone' if phone else 'desktop'}")
    page.get_by_role("button", name="Stay").click()
    end_session(cast.root)
    page.locator("[name=_save]").click()
    expect(page.locator("dialog#session")).to_be_visible()
    visitor.shoot(page, f"admin-session-{'phone' if phone else 'desktop'}")
    sign_in(page)

    expect(page.locator(".messagelist")).to_contain_text("typed-with-care")


# --- How it looks -----------------------------------------------------------------------------------


def test_the_dialog_and_the_notice_are_without_barriers(visitor: Visitor, cast: Cast, secret: Make) -> None:
    page = visitor.open(f"/secrets/{secret().pk}/edit", user=cast.alice, phone=True)
    inspection = Inspection(visitor)
    page.locator("#id_value").fill("typed")
    end_session(cast.alice)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("dialog#session")).to_be_visible()
    inspection.look_at(page, "session-dialog")
    page.locator("#session-password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("[data-session-error]")).to_be_visible()
    inspection.look_at(page, "session-dialog-refused")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#session-notice")).to_be_visible()
    inspection.look_at(page, "session-notice")
    assert inspection.found == {}
