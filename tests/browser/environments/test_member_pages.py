"""A role is changed from the environment's page, and an account is confirmed on its page of access."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Locator, expect

from environments_app.models import Membership, Role
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.users.accounts import create_user, set_password
from tests.browser.accessibility import Inspection
from tests.browser.visitor import DESKTOP, PHONE, Visitor


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


def test_a_manager_confirms_accounts_without_barriers(visitor: Visitor, cast: Cast) -> None:
    root, long = cast.principal(cast.root).proven(), "a-rather-long-name-of-a-person@payments.example.com"
    for name in (long, "not-signed-in-yet"):
        made = create_user(actor=root, username=name, password=PASSWORD)
        Membership.objects.create(environment=cast.development, user=made, role=Role.MANAGER)
        if name == long:
            made.temporary_since = None
            made.save()
    set_password(actor=root, user=cast.bob, password=f"{PASSWORD}-other")
    page, inspection = visitor.open("/environments/development/access", user=cast.alice), Inspection(visitor)
    inspection.look_at(page, "access-with-accounts-to-confirm")
    page.set_viewport_size(PHONE)
    # A manager who confirms on a phone reads there why, and whom they take for another person.
    expect(page.locator("#suspended")).to_contain_text(
        "Ask the person before you confirm.", use_inner_text=True
    )
    expect(page.locator("#held")).to_contain_text("Could also be used by root", use_inner_text=True)
    page.set_viewport_size(DESKTOP)
    page.get_by_role("button", name=f"Confirm the account {long}").click()
    expect(page.get_by_text(f"{long} counts as a person of their own in approvals now.")).to_be_visible()
    inspection.look_at(page, "access-account-confirmed")
    assert inspection.found == {}


def gap(one: Locator, other: Locator) -> float:
    """Return how far apart two boxes are that lie beside or below each other."""
    left, right = one.bounding_box(), other.bounding_box()
    assert left is not None
    assert right is not None
    across = right["x"] - left["x"] - left["width"]
    return max(across, right["y"] - left["y"] - left["height"])


def test_no_two_cards_or_buttons_touch(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/environments/development#settings", user=cast.alice)
    expect(page.locator("#settings")).to_be_visible()
    assert gap(page.locator("#key"), page.locator("#settings")) >= 8
    assert gap(page.locator("#tabs"), page.locator("#key")) <= 24
    page = visitor.open("/integrity", user=cast.root)
    assert gap(page.locator(".empty"), page.locator("[aria-labelledby=log-title]")) >= 8
    verify = page.get_by_role("button", name="Verify the audit log")
    assert gap(verify, page.get_by_role("link", name="All verifications")) >= 8
