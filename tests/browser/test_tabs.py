"""Parts of a page as tabs: the page of an environment, and the ways to read a secret."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from tests.browser.accessibility import Inspection
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
PLACE = "/environments/development"
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}


def shown(page: Page) -> list[str]:
    return page.locator("main h2:visible").all_inner_texts()


def test_an_environment_shows_one_part_at_a_time(visitor: Visitor, cast: Cast) -> None:
    page, inspection = visitor.open(PLACE, user=cast.alice), Inspection(visitor)
    tabs = page.get_by_role("navigation", name="On this page")
    assert shown(page) == ["Members"]
    for name in ("Service tokens", "Sync", "Settings"):
        tabs.get_by_role("link", name=name).click()
        inspection.look_at(page, f"tab-{name}")
    assert shown(page) == ["Encryption key", "Settings"]
    assert page.url.endswith("#settings")
    page.reload()
    assert shown(page) == ["Encryption key", "Settings"]
    expect(tabs.locator("[aria-current]")).to_have_text("Settings")
    assert inspection.found == {}


def test_a_link_from_elsewhere_opens_its_part(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open(f"{PLACE}#key", user=cast.alice)
    assert shown(page) == ["Encryption key", "Settings"]
    page = visitor.open(f"{PLACE}#tokens", user=cast.alice)
    assert shown(page) == ["Service tokens"]


def test_a_refused_form_opens_its_part(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open(f"{PLACE}#settings", user=cast.alice)
    visitor.watch(page).expect("status of 422")
    page.get_by_label("Offline copies (hours)").fill("900")
    page.get_by_role("button", name="Save settings").click()
    expect(page.locator(".field-error")).to_be_visible()
    page.get_by_label("Offline copies (hours)").fill("")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Settings saved.")).to_be_visible()
    assert shown(page) == ["Encryption key", "Settings"]


def test_a_profile_shows_one_part_at_a_time(visitor: Visitor, cast: Cast) -> None:
    page, inspection = visitor.open("/profile", user=cast.alice), Inspection(visitor)
    visitor.watch(page).expect("status of 422")
    tabs = page.get_by_role("navigation", name="On this page")
    assert shown(page) == ["Name", "Time zone"]
    tops = {page.locator("main .panel:visible").first.evaluate("each => each.offsetTop")}
    for name in ("Access", "Security", "Personal tokens"):
        tabs.get_by_role("link", name=name).click()
        tops.add(page.locator("main .panel:visible").first.evaluate("each => each.offsetTop"))
        inspection.look_at(page, f"profile-{name}")
    assert len(tops) == 1
    assert shown(page) == ["Personal tokens"]
    tabs.get_by_role("link", name="Security").click()
    assert shown(page) == ["Password", "Two-factor authentication", "Active sessions"]
    page.get_by_label("Current password").fill("wrong")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".field-error").first).to_be_visible()
    assert shown(page) == ["Password", "Two-factor authentication", "Active sessions"]
    page.goto("/profile#tokens")
    assert shown(page) == ["Personal tokens"]
    assert inspection.found == {}


def test_without_scripts_all_parts_are_shown(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open(PLACE, user=cast.alice, java_script_enabled=False)
    assert {"Members", "Service tokens", "Settings"} <= set(shown(page))


def test_how_to_read_a_secret_is_copied_by_one_click(visitor: Visitor, cast: Cast, secret: Make) -> None:
    stored = secret(name="payments/db")
    page, inspection = (
        visitor.open(f"/secrets/{stored.pk}", user=cast.alice, **CLIPBOARD),
        Inspection(visitor),
    )
    use = page.get_by_role("region", name="Use this secret")
    headings = shown(page)
    assert headings[:2] == ["Value version 1", "Use this secret"]
    inspection.look_at(page, "use-this-secret")
    use.get_by_role("button", name="Copy").click()
    text = page.evaluate("navigator.clipboard.readText()")
    assert "kpr get -e development payments/db" in text
    use.get_by_role("link", name="AWS").click()
    expect(use.locator("pre:visible")).to_have_count(1)
    use.get_by_role("button", name="Copy").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('secretsmanager'))")
    assert page.url.endswith(f"/secrets/{stored.pk}")
    assert inspection.found == {}


def test_a_slow_reveal_shows_within_200_ms_that_it_is_under_way(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    page = visitor.open(f"/secrets/{secret().pk}", user=cast.alice)
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/reveal", hold)
    reveal = page.locator("[data-reveal] button")
    reveal.click()
    expect(reveal).to_have_attribute("aria-busy", "true")
    page.wait_for_timeout(250)
    assert reveal.evaluate("each => getComputedStyle(each).opacity") == "0.65"
    waiting.pop().continue_()
    expect(page.locator("[data-value]")).to_have_text("s3cr3t-Kx9")
    expect(reveal).not_to_have_attribute("aria-busy", "true")
