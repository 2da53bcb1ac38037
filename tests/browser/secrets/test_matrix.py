"""The matrix as the place to compare and to edit: columns, gaps, a row, a column, a promotion."""

from collections.abc import Callable

from playwright.sync_api import expect

from environments_app.environments.service import create_environment
from environments_app.models import Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from tests.browser.accessibility import Inspection
from tests.browser.secrets.test_journeys import kept_in
from tests.browser.sign_in.test_expired_session import end_session, sign_in
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
NEW = "n3w-s3cr3t"


def test_a_gap_is_found_filled_and_promoted(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    secret(name="everywhere")
    secret(name="everywhere", environment=cast.production)
    page, inspection = visitor.open("/environments/development", user=cast.alice), Inspection(visitor)
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets by environment")
    inspection.look_at(page, "matrix")
    page.get_by_role("button", name="Only gaps").click()
    expect(page.locator("tbody th")).to_have_count(1)

    page.get_by_role("link", name="Edit payments/db in several environments").click()
    inspection.look_at(page, "matrix-row")
    page.get_by_label("production").first.fill(NEW)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved payments/db in production.")).to_be_visible()
    assert NEW not in kept_in(page)

    page.get_by_role("link", name="Edit payments/db in several environments").click()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Promote")
    page.get_by_role("button", name="Promote 1 secret").click()
    expect(page.get_by_text("1 of 1 promoted to production.")).to_be_visible()
    assert inspection.found == {}


def test_a_promotion_goes_from_where_the_value_is(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="only-in/production", environment=cast.production)
    secret(name="only-in/development")
    page = visitor.open("/secrets/matrix", user=cast.alice)
    source, target = page.locator("[name=left]"), page.locator("[name=right]")
    for name, other in (("development", "production"), ("production", "development")):
        box = page.get_by_role("checkbox", name=f"Select only-in/{name}")
        box.check()
        expect(source).to_have_value(name)
        expect(target).to_have_value(other)
        box.uncheck()
    # What a person chose stays.
    box = page.get_by_role("checkbox", name="Select only-in/development")
    box.check()
    source.select_option("production")
    box.uncheck()
    box.check()
    expect(source).to_have_value("production")


def test_columns_are_picked_and_names_stay_in_view(visitor: Visitor, cast: Cast, secret: Make) -> None:
    for number in range(12):
        place = create_environment(actor=cast.principal(cast.root), name=f"stage-{number:02}")
        Membership.objects.create(environment=place, user=cast.alice, role=Role.EDITOR)
    secret(name="payments/a-name-that-is-rather-long-for-a-row")
    page, inspection = visitor.open("/secrets/matrix", user=cast.alice), Inspection(visitor)
    menu = page.get_by_text("Environments (10 of 14)")
    menu.click()
    for number in (0, 11):
        page.get_by_role("checkbox", name=f"stage-{number:02}").check()
    inspection.look_at(page, "matrix-picker")
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_text("Environments (11 of 14)")).to_be_visible()

    # It is in the account: another browser shows the same.
    other = visitor.open("/secrets/matrix", user=cast.alice, phone=True)
    expect(other.locator("thead th")).to_have_count(12)
    name, scroll = other.locator("tbody th").first, other.locator(".matrix-scroll")
    head, before = other.locator("thead th").nth(1), name.bounding_box()
    scroll.evaluate("each => { each.scrollLeft = 400 }")
    assert before is not None
    assert name.bounding_box() == before
    # A long list scrolls in itself, below the heads of its columns.
    scroll.evaluate("each => { each.style.maxHeight = '60px' }")
    before = head.bounding_box()
    scroll.evaluate("each => { each.scrollTop = 20 }")
    assert scroll.evaluate("each => each.scrollTop") > 0
    assert head.bounding_box() == before
    inspection.look_at(page, "matrix-many")
    assert inspection.found == {}


def test_a_column_is_written_and_survives_the_end_of_its_session(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    """What was typed stays on the page, is sent once the person signed in again, and is stored nowhere."""
    secret(name="payments/db")
    page = visitor.open("/secrets?environment=development", user=cast.alice)
    page.get_by_role("link", name="Edit values").click()
    page.get_by_label("Value of payments/db").fill(NEW)
    page.get_by_label("New name 1", exact=True).fill("payments/second")
    page.get_by_label("Value of new name 1", exact=True).fill(NEW)
    for status in ("401", "503"):
        visitor.watch(page).expect(status)
    end_session(cast.alice)
    page.locator("button[value=preview]").click()
    sign_in(page)
    save = page.get_by_role("button", name="Save 2 secrets")
    expect(save).to_be_visible()
    assert NEW not in kept_in(page)
    save.click()
    expect(page.get_by_text("Saved 2 secrets.")).to_be_visible()
    page.get_by_role("link", name="Stop editing").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets by environment")
    assert NEW not in page.content()
