import re

import pytest
from django.contrib import admin
from playwright.sync_api import expect

from audit_app.models import AuditEvent
from environments_app.models import Membership
from environments_app.tests.cast import Cast
from tests.browser.accessibility import Inspection, barriers
from tests.browser.visitor import Visitor


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admin_wears_keepers_colours(visitor: Visitor, cast: Cast, scheme: str) -> None:
    page = visitor.open("/admin/", user=cast.root, color_scheme=scheme)
    visitor.shoot(page, f"admin-{scheme}")

    expect(page.locator(".rail .brand")).to_contain_text("Keeper")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 18, 22)"}[scheme]
    assert [line for line in barriers(page) if line.startswith("color-contrast")] == []


WIDTH = 1280
_HIDDEN = (
    "(() => { const table = document.querySelector('#result_list');"
    " return table ? table.parentElement.scrollWidth - table.parentElement.clientWidth : 0 })()"
)


def test_the_admin_is_without_barriers(visitor: Visitor, cast: Cast) -> None:
    page, inspection = visitor.open("/admin/", user=cast.root), Inspection(visitor)
    addresses = (
        "/admin/",
        "/admin/search/?q=a",
        "/admin/environments_app/user/",
        f"/admin/environments_app/user/{cast.alice.pk}/change/",
        f"/admin/environments_app/user/{cast.alice.pk}/acts/offboard/",
        "/admin/environments_app/membership/add/",
        f"/admin/environments_app/membership/{Membership.objects.latest('id').pk}/delete/",
        "/admin/audit_app/auditevent/",
        f"/admin/audit_app/auditevent/{AuditEvent.objects.latest('id').pk}/change/",
        "/admin/audit/",
        "/admin/keys/",
        "/admin/system/",
        "/admin/sync_app/target/add/",
        "/admin/sync_app/target/acts/add_vault_kv2/",
    )
    for address in addresses:
        inspection.visit(page, "admin" + address.replace("/", "-"), address)
    assert inspection.found == {}


def test_a_slash_leads_to_the_search(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/admin/", user=cast.root)
    page.keyboard.press("/")
    page.keyboard.type("ali/")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/admin/search/\?q=ali%2F$"))


def test_a_filter_opens_and_closes_by_the_keyboard(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/admin/environments_app/user/", user=cast.root)
    role = page.locator("details.filter", has_text="Role")
    role.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(role.get_by_role("link", name="Administrator")).to_be_visible()
    page.keyboard.press("Escape")
    expect(role.get_by_role("link", name="Administrator")).to_be_hidden()
    expect(role.locator("summary")).to_be_focused()


def test_every_list_and_form_of_the_admin_keeps_the_policy_and_clips_nothing(
    visitor: Visitor, cast: Cast
) -> None:
    # The watch of the visitor fails the test for a violation on any of them.
    page = visitor.open("/admin/", user=cast.root)
    page.set_viewport_size({"width": WIDTH, "height": 800})
    visited = 0
    for model in admin.site._registry:
        address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        answer = page.goto(address)
        assert answer is not None
        assert answer.ok, f"{address} answers {answer.status}"
        assert page.evaluate(_HIDDEN) <= 0, f"a column of {address} is clipped"
        visited += 1
        first = page.locator("#result_list tbody th a").first
        if first.count():
            visitor.shoot(page, f"admin-{model._meta.model_name}-list")
            first.click()
            visitor.shoot(page, f"admin-{model._meta.model_name}-form")

    assert visited > 3


_FRAME = (
    ".rail",
    ".rail-list > li:nth-child(2) .rail-link",
    ".rail-foot",
    ".topbar",
    ".switcher > summary",
    ".topbar .bell",
    ".topbar .person",
)


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_the_admin_wears_the_frame_of_the_pages(visitor: Visitor, cast: Cast, phone: bool) -> None:
    page = visitor.open("/people", user=cast.root, phone=phone)

    def places() -> list[tuple[int, int] | None]:
        boxes = [page.locator(part).first.bounding_box() for part in _FRAME]
        return [box and (round(box["x"]), round(box["y"])) for box in boxes]

    of_pages, colour = places(), "getComputedStyle(document.querySelector('.rail')).backgroundColor"
    ground = page.evaluate(colour)
    if phone:
        page.locator(".rail-more summary").click()
    page.locator(".rail").get_by_role("link", name="Admin").locator("visible=true").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Operations")
    assert [box is not None for box in places()] == [box is not None for box in of_pages]
    # A line of text more or less moves nothing; the foot is measured from its own last line.
    for mine, theirs in zip(places(), of_pages, strict=True):
        assert (
            mine is None or theirs is None or max(abs(a - b) for a, b in zip(mine, theirs, strict=True)) <= 1
        )
    assert page.evaluate(colour) == ground
    page.goto("/admin/environments_app/user/")
    expect(page.locator(".rail [aria-current]").first).to_have_text("Admin")


def test_the_lists_of_the_admin_are_in_its_top_bar_and_in_the_palette(visitor: Visitor, cast: Cast) -> None:
    address = "/admin/environments_app/user/"
    page, inspection = visitor.open(address, user=cast.root), Inspection(visitor)
    lists = page.locator(".switcher")
    lists.locator("summary").click()
    expect(lists.get_by_label("Find a list")).to_be_focused()
    inspection.look_at(page, "admin-lists")
    page.keyboard.type("webh")
    expect(lists.get_by_role("link")).to_have_text(["Webhooks"])
    lists.get_by_role("link").click()
    page.wait_for_url("**/webhook/")
    page.keyboard.press("Control+k")
    page.keyboard.type("passkeys")
    expect(page.locator("#palette").get_by_role("option", selected=True)).to_contain_text("List")
    page.keyboard.press("Enter")
    page.wait_for_url("**/passkey/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    inspection.look_at(page, "admin-keys")
    assert inspection.found == {}
