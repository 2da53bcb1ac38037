"""Approvals in the browser: one person requests, another approves, and the change is applied; access requests."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from environments_app.access_requests import service as access_requests
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.models import PendingValue, Secret
from tests.browser import keys
from tests.browser.accessibility import Inspection
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
SIZES = pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
APPROVALS, APPROVAL = "/approvals", "/approvals/{id}"
ASK, ASKED = "/access-requests/new", "/access-requests/{id}"
PAGES = (APPROVALS, APPROVAL, ASK, ASKED)
PROPOSED = "proposed-Kx9-7d1f"


def protected(cast: Cast, secret: Make) -> Secret:
    """Return a secret of protected production, which alice and erin manage."""
    kept = secret(name="payments/db", environment=cast.production)
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    return kept


def propose(page: Page, secret: Secret, value: str, *, comment: str = "") -> str:
    """Write a value, and return the address of the request that came of it."""
    page.goto(f"/secrets/{secret.pk}/edit")
    page.locator("#id_value").fill(value)
    page.locator("#id_comment").fill(comment)
    page.get_by_role("button", name="Request approval").click()
    expect(page.get_by_text("Approval requested")).to_be_visible()
    return page.url


def current(secret: Secret) -> int:
    return Secret.objects.get(pk=secret.pk).current_number


@SIZES
def test_a_change_is_requested_approved_by_another_and_applied(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    kept = protected(cast, secret)
    mine = visitor.open("/", user=cast.alice, phone=phone)
    first = propose(mine, kept, PROPOSED, comment="leaked in a log")
    assert PROPOSED not in mine.content()
    expect(mine.get_by_text("Approvers: erin")).to_be_visible()
    # Nobody decides about what they asked for: there is no button, and the address refuses.
    expect(mine.get_by_role("button", name="Approve")).to_have_count(0)
    token = mine.locator("[name=csrfmiddlewaretoken]").first.input_value()
    answer = mine.request.post(f"{first}/approve", form={"csrfmiddlewaretoken": token})
    assert answer.status == 403

    theirs = visitor.open("/approvals", user=cast.erin, phone=phone)
    theirs.get_by_role("link", name="payments/db").first.click()
    assert PROPOSED not in theirs.content()
    expect(theirs.get_by_text("leaked in a log")).to_be_visible()
    expect(theirs.get_by_role("heading", level=1).get_by_role("link")).to_have_attribute(
        "href", f"/secrets/{kept.pk}"
    )
    theirs.get_by_label("Comment", exact=True).fill("looks right")
    theirs.get_by_role("button", name="Approve and apply").click()
    expect(theirs.get_by_text("Approved and applied")).to_be_visible()
    assert current(kept) == 2
    mine.goto(first)
    expect(mine.locator("#request-status")).to_contain_text("applied")

    second = propose(mine, kept, f"{PROPOSED}-other")
    theirs.goto(second)
    theirs.get_by_role("button", name="Reject").click()
    expect(theirs.get_by_text("Request rejected")).to_be_visible()
    mine.goto(second)
    expect(mine.locator("#request-status")).to_contain_text("refused")
    assert current(kept) == 2
    assert not PendingValue.objects.exists()


def test_a_held_request_is_applied_by_its_requester(visitor: Visitor, cast: Cast, secret: Make) -> None:
    kept = protected(cast, secret)
    mine = visitor.open("/", user=cast.alice)
    address = propose(mine, kept, PROPOSED)
    mine.get_by_label("Hold").check()
    mine.get_by_role("button", name="Save", exact=True).click()
    expect(mine.get_by_text("Request saved")).to_be_visible()

    theirs = visitor.open(address, user=cast.erin)
    theirs.get_by_role("button", name="Approve", exact=True).click()
    expect(theirs.get_by_text("alice can now apply the change")).to_be_visible()
    assert current(kept) == 1

    mine.goto(address)
    mine.get_by_role("button", name="Apply change").click()
    mine.wait_for_url(f"**/secrets/{kept.pk}")
    assert current(kept) == 2


def test_a_request_is_approved_by_the_keyboard_alone(visitor: Visitor, cast: Cast, secret: Make) -> None:
    kept = protected(cast, secret)
    address = propose(visitor.open("/", user=cast.alice), kept, PROPOSED)
    theirs = visitor.open("/", user=cast.erin)
    theirs.keyboard.press("Control+k")
    theirs.keyboard.type("approvals")
    theirs.keyboard.press("Enter")
    theirs.wait_for_url("**/approvals")
    keys.walk(theirs, f".row-link[href='{address.removeprefix(visitor.site)}']")
    theirs.keyboard.press("Enter")
    theirs.wait_for_url(address)
    keys.walk(theirs, "form[action$='/approve'] .btn-primary")
    theirs.keyboard.press("Enter")
    expect(theirs.get_by_text("Approved and applied")).to_be_visible()
    assert current(kept) == 2


@SIZES
def test_access_is_asked_for_and_granted_in_part(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    kept = secret(name="payments/db", environment=cast.production)
    mine = visitor.open("/approvals", user=cast.charlie, phone=phone)
    mine.get_by_role("link", name="Request access").first.click()
    mine.locator("#id_environment").fill("production")
    mine.locator("#id_minutes").select_option("240")
    mine.get_by_label("Reason").fill("the deploy failed")
    mine.get_by_role("button", name="Send request", exact=True).click()
    expect(mine.get_by_role("heading", level=1)).to_contain_text("Your request for access to production")

    theirs = visitor.open("/approvals", user=cast.alice, phone=phone)
    theirs.get_by_role("link", name="Review the request of charlie").click()
    expect(theirs.get_by_text("the deploy failed")).to_be_visible()
    theirs.locator("#id_prefix").fill("payments")
    theirs.locator("#id_minutes").select_option("60")
    theirs.get_by_role("button", name="Grant").click()
    expect(theirs.get_by_text("charlie has the access now")).to_be_visible()

    mine.goto(f"/secrets/{kept.pk}")
    expect(mine.get_by_role("heading", level=1)).to_have_text("payments/db")


def test_pages_of_approvals_are_without_barriers(visitor: Visitor, cast: Cast, secret: Make) -> None:
    kept = protected(cast, secret)
    charlie = cast.principal(cast.charlie)
    asked = access_requests.submit(
        actor=charlie,
        environment="production",
        role="editor",
        prefix="payments",
        minutes=240,
        reason="deploy",
    )
    mine = visitor.open("/", user=cast.alice, phone=True)
    first = propose(mine, kept, PROPOSED)
    assert first.endswith(APPROVAL.format(id=Approval.objects.get().pk))
    theirs = visitor.open(first, user=cast.erin, phone=True)
    outside = visitor.open(ASK, user=cast.charlie, phone=True)
    inspection = Inspection(visitor)

    def look_at(page: Page, name: str, path: str = "") -> None:
        if path:
            page.goto(path)
        inspection.look_at(page, name)

    look_at(mine, "approval-asked")
    look_at(theirs, "approval-to-decide")
    look_at(theirs, "approvals-waiting", APPROVALS)
    theirs.goto(first)
    theirs.get_by_role("button", name="Approve and apply").click()
    expect(theirs.get_by_text("Approved and applied")).to_be_visible()
    look_at(theirs, "approval-applied")
    look_at(mine, "approval-applied-own", first)
    look_at(mine, "approvals-own", APPROVALS)
    look_at(mine, "access-request-to-answer", ASKED.format(id=asked.pk))
    look_at(outside, "access-request-new")
    look_at(outside, "access-request-own", ASKED.format(id=asked.pk))
    look_at(outside, "approvals-of-who-asked", APPROVALS)
    assert inspection.found == {}
