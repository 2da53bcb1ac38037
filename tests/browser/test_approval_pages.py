"""Four eyes in the browser: one asks, another decides, and whoever asked carries it out; and asking for access."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from environments_app.access_requests import service as access_requests
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.models import PendingValue, Secret
from tests.browser.accessibility import LOOKS, flaws
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


def propose(page: Page, secret: Secret, value: str) -> str:
    """Write a value, and return the address of the request that came of it."""
    page.goto(f"/secrets/{secret.pk}/edit")
    page.locator("#id_value").fill(value)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Approval requested")).to_be_visible()
    return page.url


def current(secret: Secret) -> int:
    return Secret.objects.get(pk=secret.pk).current_number


@SIZES
def test_a_change_is_asked_for_decided_by_another_and_carried_out(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    kept = protected(cast, secret)
    mine = visitor.open("/", user=cast.alice, phone=phone)
    first = propose(mine, kept, PROPOSED)
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
    theirs.get_by_label("Comment").fill("looks right")
    theirs.get_by_role("button", name="Approve").click()
    expect(theirs.get_by_text("Approved and applied")).to_be_visible()
    assert current(kept) == 1

    # Another value is another request; what was approved stands beside it.
    second = propose(mine, kept, f"{PROPOSED}-other")
    assert second != first
    mine.goto(first)
    mine.get_by_role("button", name="Apply change").click()
    mine.wait_for_url(f"**/secrets/{kept.pk}")
    assert current(kept) == 2

    theirs.goto(second)
    theirs.get_by_role("button", name="Reject").click()
    expect(theirs.get_by_text("Request rejected")).to_be_visible()
    mine.goto(second)
    expect(mine.get_by_text("refused").first).to_be_visible()
    expect(mine.get_by_role("button", name="Apply change")).to_have_count(0)
    assert current(kept) == 2
    assert not PendingValue.objects.exists()


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
    theirs.get_by_role("link", name="charlie").click()
    expect(theirs.get_by_text("the deploy failed")).to_be_visible()
    theirs.locator("#id_prefix").fill("payments")
    theirs.locator("#id_minutes").select_option("60")
    theirs.get_by_role("button", name="Grant").click()
    expect(theirs.get_by_text("charlie")).to_be_visible()

    mine.goto(f"/secrets/{kept.pk}")
    expect(mine.get_by_role("heading", level=1)).to_have_text("payments/db")


@pytest.mark.parametrize("look", LOOKS)
def test_pages_of_approvals_are_without_barriers(
    visitor: Visitor, cast: Cast, secret: Make, look: str
) -> None:
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
    mine = visitor.open("/", user=cast.alice, **LOOKS[look])
    first = propose(mine, kept, PROPOSED)
    assert first.endswith(APPROVAL.format(id=Approval.objects.get().pk))
    theirs = visitor.open(first, user=cast.erin, **LOOKS[look])
    outside = visitor.open(ASK, user=cast.charlie, **LOOKS[look])
    found: dict[str, list[str]] = {}

    def look_at(page: Page, name: str, path: str = "") -> None:
        if path:
            page.goto(path)
        if problems := flaws(page):
            found[name] = problems
        visitor.shoot(page, f"{name}-{look}")

    look_at(mine, "approval-asked")
    look_at(theirs, "approval-to-decide")
    look_at(theirs, "approvals-waiting", APPROVALS)
    theirs.goto(first)
    theirs.get_by_role("button", name="Approve").click()
    expect(theirs.get_by_text("Approved and applied")).to_be_visible()
    look_at(theirs, "approval-approved")
    look_at(mine, "approval-to-carry-out", first)
    look_at(mine, "approvals-ready", APPROVALS)
    look_at(mine, "access-request-to-answer", ASKED.format(id=asked.pk))
    look_at(outside, "access-request-new")
    look_at(outside, "access-request-own", ASKED.format(id=asked.pk))
    look_at(outside, "approvals-of-who-asked", APPROVALS)
    assert found == {}
