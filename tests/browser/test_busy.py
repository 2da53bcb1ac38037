"""A button that sends says so in words within 200 ms of waiting, and is itself again afterwards."""

import time

import pytest
from playwright.sync_api import Page, Route, expect

from environments_app.tests.cast import PASSWORD, Cast
from tests.browser.visitor import Visitor

# What a button said while its form was under way: the page that said it is gone when its answer is there.
_WATCH = """(button) => new MutationObserver(() => sessionStorage.setItem("said", button.textContent))
    .observe(button, { childList: true })"""


def slow(page: Page, address: str) -> None:
    def wait(route: Route) -> None:
        if route.request.method == "POST":
            time.sleep(0.7)
        route.continue_()

    page.route(address, wait)


def test_a_form_says_that_it_is_saved(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/environments/development#settings", user=cast.alice)
    slow(page, "**/environments/development/settings")
    button = page.locator("#settings button[type=submit]")
    button.evaluate(_WATCH)
    button.click()
    expect(page.get_by_text("Settings saved.")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('said')") == "Saving…"
    expect(page.locator("#settings button[type=submit]")).to_have_text("Save settings")


def test_what_is_quick_says_nothing(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/sign-in")
    said = page.evaluate(
        """async () => {
            const { showButtonBusy, showButtonIdle } = await import("/static/keeper/js/busy.js");
            const button = document.querySelector("form button[type=submit]");
            const width = button.offsetWidth;
            showButtonBusy(button);
            await new Promise((done) => setTimeout(done, 100));
            const soon = button.textContent.trim();
            await new Promise((done) => setTimeout(done, 200));
            const later = [button.textContent, button.offsetWidth >= width];
            showButtonIdle(button);
            return [soon, ...later, button.textContent.trim(), button.hasAttribute("aria-busy")];
        }"""
    )
    assert said == ["Sign in", "Signing in…", True, "Sign in", False]


def test_a_question_comes_before_the_words(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/environments/development#members", user=cast.alice)
    button = page.get_by_role("button", name="Revoke access of erin")
    button.click()
    page.wait_for_timeout(500)
    expect(button).to_have_text("Revoke")
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    expect(button).not_to_have_attribute("aria-busy", "true")
    expect(button).to_have_text("Revoke")


def test_the_sign_in_says_it_too(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/sign-in")
    slow(page, "**/sign-in*")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    button = page.locator("form button[type=submit]").first
    button.evaluate(_WATCH)
    button.click()
    page.wait_for_url("**/")
    assert page.evaluate("sessionStorage.getItem('said')") == "Signing in…"


@pytest.mark.parametrize(
    ("label", "words"),
    {
        "Save settings": "Saving…", "Create secret": "Creating…", "Reveal": "Revealing…", "Copy 3": "Copying…",
        "Run now": "Running…", "Issue token": "Issuing…", "Apply 5 changes": "Applying…", "Sync now": "Syncing…",
        "Sign out": "Signing out…", "OK": "Working…", "Set up": "Setting…", "Restore": "Restoring…",
    }.items(),
)  # fmt: skip
def test_the_words_are_those_of_the_label(visitor: Visitor, cast: Cast, label: str, words: str) -> None:
    page = visitor.open("/sign-in")
    source = "async (label) => (await import('/static/keeper/js/busy.js')).busyWords(label)"
    assert page.evaluate(source, label) == words
