"""The first run: from the password that the start printed to a first secret, token, read by a program, and target."""

from urllib.request import Request, urlopen

from playwright.sync_api import expect
from pytest_django import Settings

from environments_app.models import ServiceToken
from keeper_project.runtime.database_setup import initialise
from secrets_app.models import Secret
from sync_app.models import Target
from tests.browser.effort import Effort
from tests.browser.keys import fill, follow
from tests.browser.secrets.test_journeys import SIZES
from tests.browser.visitor import Visitor
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
NEXT = ".first-steps a.btn-primary"


@SIZES
def test_a_first_run_by_the_keyboard_alone(
    visitor: Visitor, transactional_db: None, openbao: tuple[str, str], settings: Settings, phone: bool
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    printed: list[str] = []
    initialise(announce=lambda *account: printed.extend(account))
    page = visitor.open("/", phone=phone)
    effort = Effort(page)
    fill(page, "#id_username", printed[0])
    fill(page, "#id_password", printed[1])
    follow(page, "form button[type=submit]")
    visitor.shoot(page, f"first-run-{'phone' if phone else 'desktop'}")
    expect(page.locator(".first-step.is-done")).to_have_count(1)

    follow(page, NEXT)
    fill(page, "#id_name", "payments/stripe-key")
    fill(page, "#id_value", "s3cr3t-Kx9")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("payments/stripe-key")
    # Of them 58 are typed: username, password, name and value (docs/internals/design-language.md).
    assert effort.clicks == 0
    assert effort.keys <= 86

    follow(page, "nav.rail a[href='/']")
    follow(page, NEXT)
    fill(page, "#id_token_name", "ci")
    follow(page, "#tokens button[type=submit].btn-primary")
    issued = page.get_by_role("region", name="Token")
    expect(issued).to_contain_text("kpr_")
    program = {"Authorization": f"Bearer {issued.text_content()}"}

    follow(page, "nav.rail a[href='/']")
    follow(page, NEXT)
    expect(page.get_by_role("heading", name="Use this secret")).to_be_in_viewport()
    number = Secret.objects.get().pk
    with urlopen(Request(f"{visitor.site}/api/secrets/{number}", headers=program)) as answer:
        assert b"s3cr3t-Kx9" in answer.read()

    follow(page, "nav.rail a[href='/']")
    follow(page, NEXT)
    follow(page, "a[href*=vault_kv2]")
    address, token = openbao
    fill(page, "#id_name", "vault")
    fill(page, "#id_destination-address", address)
    fill(page, "#id_destination-prefix", f"first-run-{phone}")
    fill(page, "[name$=-token]", token)
    follow(page, "main form button[type=submit].btn-primary")
    expect(page.get_by_role("heading", level=1)).to_have_text("vault")

    follow(page, "nav.rail a[href='/']")
    expect(page.locator(".first-steps")).to_have_count(0)
    assert (Secret.objects.count(), ServiceToken.objects.count(), Target.objects.count()) == (1, 1, 1)
