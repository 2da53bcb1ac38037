"""Pages that only a form leads to: shown again with what is wrong, or with a text that is shown once."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from tests.browser.accessibility import Inspection
from tests.browser.visitor import Visitor

# Forms that are sent with what they do not take: the page, and its fields by their names.
REFUSED: dict[str, tuple[str, dict[str, str]]] = {
    "new-secret": ("/secrets/new?environment=development", {"name": "../etc", "value": "v"}),
    "new-environment": ("/environments/new", {"name": "Not a name"}),
    "password": ("/profile#password", {"current": "wrong", "password": "short", "again": "other"}),
    "share": ("/secrets/{secret}/share", {"recipient": "nobody-of-this-name"}),
    "member": ("/environments/development", {"username": "nobody-of-this-name"}),
    "token": ("/environments/development#tokens", {"cidrs": "no network"}),
    "recipient": ("/environments/development/notifications", {"email": "no address"}),
    "webhook": ("/environments/development/notifications", {"url": "no address"}),
}
# Forms whose answer shows a text that is shown nowhere else.
ANSWERED: dict[str, tuple[str, dict[str, str]]] = {
    "token": ("/environments/development#tokens", {"cidrs": "", "name": "ci"}),
    "webhook": (
        "/environments/development/notifications",
        {"url": "https://hooks.example/a-rather-long-address-of-a-receiver", "name": "ops"},
    ),
}
_OPEN = "form => { form.noValidate = true; for (let at = form; at; at = at.parentElement) at.open = true; }"


def send(page: Page, fields: dict[str, str]) -> None:
    """Fill the form that has the first of these fields, and send it past the browser's own rules."""
    form = page.locator(f"main form:has([name={next(iter(fields))}])").last
    form.evaluate(_OPEN)
    for name, text in fields.items():
        form.locator(f"[name={name}]").fill(text)
    form.locator("button[type=submit].btn-primary").last.click()


def test_forms_that_are_shown_again_are_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret]
) -> None:
    cast.alice.role = "admin"
    cast.alice.save()
    stored, inspection = secret(), Inspection(visitor)
    for name, (path, fields) in REFUSED.items():
        page = visitor.open(path.format(secret=stored.pk), user=cast.alice, phone=True)
        visitor.watch(page).expect("status of 422")
        send(page, fields)
        page.locator(".field-error, [role=alert]").first.wait_for()
        inspection.look_at(page, f"refused-{name}")
    page = visitor.open("/sign-in", phone=True)
    send(page, {"username": "alice", "password": "wrong"})
    page.locator("[role=alert]").first.wait_for()
    inspection.look_at(page, "refused-sign-in")

    assert inspection.found == {}


def test_texts_that_are_shown_once_are_without_barriers(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/environments/development", user=cast.alice, phone=True)
    inspection = Inspection(visitor)
    for name, (path, fields) in ANSWERED.items():
        page.goto(path)
        send(page, fields)
        page.locator("[data-value]").wait_for()
        inspection.look_at(page, f"once-{name}")

    assert inspection.found == {}


def test_the_question_of_the_admin_is_without_barriers_and_is_answered(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/admin/environments_app/user/", user=cast.root, phone=True)
    inspection = Inspection(visitor)
    page.get_by_role("row").filter(has_text="bob").get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("disable")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("row").filter(has_text="bob")).to_contain_text("Disable")
    inspection.look_at(page, "admin-question")
    assert inspection.found == {}

    page.get_by_role("button", name="Disable").click()
    expect(page.locator(".messagelist")).to_contain_text("bob")
    cast.bob.refresh_from_db()
    assert not cast.bob.is_active
