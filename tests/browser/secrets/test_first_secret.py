"""The row above the list of an environment: a secret in one line, and what is pasted there."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import FilePayload, Page, Route, expect

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.types.registry import SecretType
from tests.browser.accessibility import Inspection
from tests.browser.effort import Effort
from tests.browser.secrets.test_journeys import kept_in
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
LIST = "/secrets?environment=development"
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
DOTENV = "# of the app\nexport DB_HOST=db.internal\nDB_PASSWORD='s3cr3t-Kx9'\nEMPTY=\n"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nnot really\n-----END OPENSSH PRIVATE KEY-----\n"


def paste(page: Page, text: str) -> None:
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+v")


def test_a_secret_takes_one_line_and_the_page_stays(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="payments/db")
    page = visitor.open(LIST, user=cast.alice)
    requests: list[str] = []
    page.on("request", lambda sent: requests.append(sent.url))
    effort = Effort(page)
    page.locator("#add-name").click()
    page.keyboard.insert_text("STRIPE_KEY")
    page.keyboard.press("Tab")
    page.keyboard.insert_text("s3cr3t-Kx9")
    page.keyboard.press("Enter")

    expect(page.locator("#added")).to_contain_text("Created STRIPE_KEY · API key")
    expect(page.locator(".row-link")).to_have_text(["STRIPE_KEY", "payments/db"])
    # It is ready for the next one.
    expect(page.locator("#add-name")).to_be_focused()
    assert [page.locator(each).input_value() for each in ("#add-name", "#add-value")] == ["", ""]
    assert "s3cr3t-Kx9" not in kept_in(page) + " ".join(requests)
    assert page.url == f"{visitor.site}{LIST}"
    assert (effort.clicks, effort.keys) == (1, 2)


def test_what_is_refused_stays_in_the_row(visitor: Visitor, cast: Cast, secret: Make) -> None:
    secret(name="taken")
    page = visitor.open(LIST, user=cast.alice)
    page.locator("#add-name").fill("taken")
    page.keyboard.press("Enter")
    expect(page.locator("#added")).to_contain_text("Enter a value.")
    page.locator("#add-value").fill("s3cr3t-Kx9")
    page.keyboard.press("Enter")
    expect(page.locator("#added [role=alert]")).to_contain_text("already exists in development")
    assert page.locator("#add-value").input_value() == "s3cr3t-Kx9"
    assert Secret.objects.count() == 1


def test_a_pasted_file_of_variables_goes_on_to_the_import(visitor: Visitor, cast: Cast) -> None:
    page, inspection = visitor.open(LIST, user=cast.alice, **CLIPBOARD), Inspection(visitor)
    inspection.look_at(page, "add-row-empty")
    requests: list[str] = []
    page.on("request", lambda sent: requests.append(sent.url))
    page.locator("#add-name").focus()
    paste(page, DOTENV)
    expect(page.locator("[data-pasted-words]")).to_have_text("This looks like 3 variables.")
    inspection.look_at(page, "add-row-variables")
    page.get_by_role("button", name="Import them as 3 secrets").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Import secrets")
    expect(page.get_by_text("1 entry has no value: EMPTY.")).to_be_visible()
    assert page.get_by_label("Environment", exact=True).input_value() == "development"
    inspection.look_at(page, "import-with-empty")
    page.get_by_role("button", name="Skip 1 empty").click()
    expect(page.get_by_text("1 empty entry is skipped.")).to_be_visible()
    page.get_by_role("button", name="Import 2 secrets").click()
    expect(page.get_by_text("1 skipped because they are empty.")).to_be_visible()
    assert set(Secret.objects.values_list("name", flat=True)) == {"DB_HOST", "DB_PASSWORD"}
    assert not any("s3cr3t" in url for url in requests)
    assert inspection.found == {}


def test_a_file_of_variables_takes_two_clicks_from_its_environment(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    secret(name="DB_PASSWORD", value="replaced")
    page = visitor.open("/environments/development", user=cast.alice, **CLIPBOARD)
    inspection, effort = Inspection(visitor), Effort(page)
    page.get_by_role("link", name="Import", exact=True).click()
    expect(page.get_by_label("Or paste text")).to_be_focused()
    paste(page, DOTENV)
    preview = page.get_by_role("list", name="Preview")
    expect(preview.get_by_role("listitem")).to_have_text(
        ["1 new", "1 changed", "0 same", "0 skipped", "1 can't import"]
    )
    inspection.look_at(page, "import-previewed")
    page.get_by_role("button", name="Import 2 secrets").click()
    expect(page.get_by_text("Imported 2 secrets.")).to_be_visible()
    # Those of pasting count as keys.
    assert (effort.clicks, effort.keys) == (2, 2)
    names = Secret.objects.filter(environment=cast.development).values_list("name", "current_number")
    assert {*names} == {("DB_HOST", 1), ("DB_PASSWORD", 2)}
    assert inspection.found == {}


def test_where_an_import_goes_is_previewed_again_by_itself(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/import?environment=development", user=cast.alice, **CLIPBOARD)
    file = FilePayload(name=".env", mimeType="text/plain", buffer=b"FROM_A_FILE=s3cr3t-Kx9\n")
    page.get_by_label("File", exact=True).set_input_files([file])
    expect(page.get_by_role("button", name="Import 1 secret")).to_be_visible()
    page.get_by_label("Path prefix").fill("app")
    page.get_by_label("Environment", exact=True).select_option("production")
    lines = page.get_by_role("table", name="Entries of the file")
    expect(lines).to_contain_text("app/FROM_A_FILE")
    # What is pasted takes the place of the file.
    page.get_by_label("Or paste text").focus()
    paste(page, "PASTED=s3cr3t-Kx9")
    expect(lines).to_contain_text("app/PASTED")
    expect(lines).not_to_contain_text("FROM_A_FILE")
    page.get_by_role("button", name="Import 1 secret").click()
    expect(page.get_by_text("Imported 1 secret.")).to_be_visible()
    assert Secret.objects.get().name == "app/PASTED"
    assert Secret.objects.get().environment == cast.production


def test_a_preview_takes_no_focus_from_the_field_that_a_person_is_in(
    visitor: Visitor, cast: Cast, secret: Make
) -> None:
    secret(name="DB_PASSWORD", environment=cast.production, value="replaced")
    page = visitor.open("/secrets/import?environment=development", user=cast.alice, **CLIPBOARD)
    page.get_by_label("Or paste text").focus()
    paste(page, DOTENV)
    environment, told = page.get_by_label("Environment", exact=True), page.locator("#announcer")
    expect(told).to_contain_text("0 changed")
    expect(page.get_by_label("Or paste text")).to_be_focused()
    environment.focus()
    environment.select_option("production")
    expect(told).to_contain_text("1 changed")
    expect(environment).to_be_focused()


def test_a_pasted_file_of_variables_leaves_the_form_as_well(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice, **CLIPBOARD)
    page.get_by_label("Value", exact=True).focus()
    paste(page, DOTENV)
    page.get_by_role("button", name="Import them as 3 secrets").click()
    expect(page.get_by_role("button", name="Skip 1 empty")).to_be_visible()


def test_a_pasted_key_sets_its_type(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/secrets/new?environment=development", user=cast.alice, **CLIPBOARD)
    page.get_by_label("Value", exact=True).focus()
    paste(page, KEY)
    expect(page.get_by_label("Type", exact=True)).to_have_value(SecretType.SSH_KEY)
    expect(page.locator("[data-pasted-words]")).to_have_text(
        "This looks like an SSH key, and gets that type."
    )
    # A private key may come before its certificate, as openssl writes them.
    pem = "-----BEGIN {0}-----\nAA==\n-----END {0}-----\n"
    page.get_by_label("Value", exact=True).fill(pem.format("PRIVATE KEY") + pem.format("CERTIFICATE"))
    expect(page.get_by_label("Type", exact=True)).to_have_value(SecretType.CERTIFICATE)
    # What a person chose stays.
    page.get_by_label("Type", exact=True).select_option(SecretType.TEXT)
    page.get_by_label("Value", exact=True).fill('{"a": "b"}')
    expect(page.get_by_label("Type", exact=True)).to_have_value(SecretType.TEXT)


def test_the_row_asks_for_approval_where_changes_need_one(visitor: Visitor, cast: Cast) -> None:
    cast.development.protected = True
    cast.development.save()
    page = visitor.open(LIST, user=cast.alice, phone=True)
    page.locator("#add-name").fill("API_TOKEN")
    page.locator("#add-value").fill("s3cr3t-Kx9")
    page.get_by_role("button", name="Request approval").click()
    page.wait_for_url("**/approvals/*")
    assert not Secret.objects.exists()


def test_the_row_works_without_scripts(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open(LIST, user=cast.alice, java_script_enabled=False)
    page.locator("#add-name").fill("db-password")
    page.locator("#add-value").fill("s3cr3t-Kx9")
    page.get_by_role("button", name="Add", exact=True).click()
    assert page.url == f"{visitor.site}{LIST}"
    expect(page.locator(".row-link")).to_have_text("db-password")
    assert Secret.objects.get().secret_type == SecretType.PASSWORD
    assert AuditEvent.objects.filter(action="secret.create").count() == 1


def test_a_slow_answer_shows_at_once_that_it_is_under_way(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open(LIST, user=cast.alice)
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/secrets/new", hold)
    page.locator("#add-name").fill("a")
    page.locator("#add-value").fill("s3cr3t-Kx9")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#add-row button[aria-busy=true]")).to_be_visible()
    page.wait_for_timeout(250)
    assert (
        page.locator("#add-row [aria-busy=true]").evaluate("each => getComputedStyle(each).opacity") == "0.65"
    )
    waiting.pop().continue_()
    expect(page.locator("#added")).to_contain_text("Created a")
    expect(page.locator("#add-row [aria-busy]")).to_have_count(0)
