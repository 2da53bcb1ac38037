import pytest
from django.contrib import admin
from playwright.sync_api import expect

from environments_app.tests.cast import Cast
from tests.browser.accessibility import barriers
from tests.browser.visitor import Visitor


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admin_wears_keepers_colours(visitor: Visitor, cast: Cast, scheme: str) -> None:
    page = visitor.open("/admin/", user=cast.root, color_scheme=scheme)
    visitor.shoot(page, f"admin-{scheme}")

    expect(page.locator("#site-name")).to_contain_text("Keeper")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 18, 22)"}[scheme]
    assert [line for line in barriers(page) if line.startswith("color-contrast")] == []


def test_every_list_and_form_of_the_admin_keeps_the_policy(visitor: Visitor, cast: Cast) -> None:
    # The watch of the visitor fails the test for a violation on any of them.
    page = visitor.open("/admin/", user=cast.root)
    visited = 0
    for model in admin.site._registry:
        address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        answer = page.goto(address)
        assert answer is not None
        assert answer.ok, f"{address} answers {answer.status}"
        visited += 1
        first = page.locator("#result_list tbody th a").first
        if first.count():
            visitor.shoot(page, f"admin-{model._meta.model_name}-list")
            first.click()
            visitor.shoot(page, f"admin-{model._meta.model_name}-form")

    assert visited > 3


def test_the_way_out_of_the_admin_lies_in_its_header_on_a_phone(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/admin/", user=cast.root, phone=True)

    header, tools = page.locator("#header").bounding_box(), page.locator("#user-tools").bounding_box()

    assert header is not None
    assert tools is not None
    assert tools["y"] + tools["height"] <= header["y"] + header["height"]
