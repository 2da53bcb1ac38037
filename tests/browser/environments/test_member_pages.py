"""A role is changed from the environment's page, with and without scripts; what was not touched stays."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from environments_app.models import Membership, Role
from environments_app.tests.cast import Cast
from tests.browser.visitor import Visitor


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_granting_again_leads_to_changing_the_role(visitor: Visitor, cast: Cast, scripts: bool) -> None:
    ends = datetime(2099, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    row = Membership.objects.get(user=cast.bob)
    row.expires_at = ends
    row.save()
    page = visitor.open("/environments/development", user=cast.alice, java_script_enabled=scripts)
    visitor.watch(page).expect("status of 422")
    page.get_by_text("Grant access").click()
    page.get_by_label("Person").fill("bob")
    page.get_by_role("button", name="Grant").click()
    page.get_by_role("link", name="Change that one").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Access of bob")
    page.get_by_label("Role").select_option("editor")
    page.get_by_label("Role").press("Tab")
    page.get_by_role("button", name="Change access").press("Enter")

    expect(page.get_by_text("Access changed.")).to_be_visible()
    expect(page.get_by_role("link", name="Change access of bob")).to_be_visible()
    row.refresh_from_db()
    assert (row.role, row.expires_at) == (Role.EDITOR, ends)
