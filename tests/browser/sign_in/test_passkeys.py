"""A passkey of Chromium's own virtual authenticator: registered, used to sign in, and to confirm."""

from playwright.sync_api import Page, expect

from environments_app.tests.authentication.test_mfa import enrolled
from environments_app.tests.cast import PASSWORD, Cast
from tests.browser.visitor import Visitor


def add_authenticator(page: Page, *, checks: bool = True) -> None:
    """Let this window have a device that confirms everything; `checks` is whether it checks its person."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": checks,
                "isUserVerified": checks,
                "automaticPresenceSimulation": True,
            }
        },
    )


def test_a_passkey_is_added_and_used(visitor: Visitor, cast: Cast) -> None:
    enrolled(cast, cast.alice)
    page = visitor.open("/profile/second-factor", user=cast.alice)
    add_authenticator(page)

    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Laptop")
    visitor.shoot(page, "passkey-add")
    page.get_by_role("button", name="Create passkey").click()
    expect(page.get_by_text("Passkey “Laptop” added.")).to_be_visible()
    expect(page.get_by_role("cell", name="Password and code")).to_be_visible()
    visitor.shoot(page, "passkeys")

    page.goto("/confirm?next=/profile")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Account settings")

    page.context.clear_cookies()
    page.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    page.goto("/sign-in?next=/secrets")
    visitor.shoot(page, "passkey-sign-in-page")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")

    page.context.clear_cookies()
    page.goto("/sign-in?next=/secrets")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    visitor.shoot(page, "passkey-sign-in")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")

    page.goto("/profile/second-factor")
    page.get_by_role("button", name="Remove Laptop").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Passkey removed.")).to_be_visible()


def test_the_browser_offers_a_passkey_by_itself(visitor: Visitor, cast: Cast) -> None:
    enrolled(cast, cast.alice)
    page = visitor.open("/profile/second-factor", user=cast.alice)
    add_authenticator(page)
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Laptop")
    page.get_by_role("button", name="Create passkey").click()
    expect(page.get_by_text("Passkey “Laptop” added.")).to_be_visible()

    page.context.clear_cookies()
    # The virtual authenticator takes what the browser offers in the field.
    page.goto("/sign-in?next=/secrets")
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")


def test_a_device_that_does_not_check_its_person_signs_nobody_in(visitor: Visitor, cast: Cast) -> None:
    enrolled(cast, cast.alice)
    page = visitor.open("/profile/second-factor", user=cast.alice)
    add_authenticator(page, checks=False)
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Key")
    page.get_by_role("button", name="Create passkey").click()
    expect(page.get_by_text("Passkey “Key” added.")).to_be_visible()
    expect(page.get_by_role("cell", name="Code", exact=True)).to_be_visible()

    page.context.clear_cookies()
    page.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    page.goto("/sign-in?next=/secrets")
    page.get_by_role("button", name="Sign in with a passkey").click()
    refused = "No passkey was used. Try again, or sign in with your password."
    expect(page.get_by_role("alert")).to_have_text(refused)


def test_a_device_that_refuses_is_told(visitor: Visitor, cast: Cast) -> None:
    enrolled(cast, cast.alice)
    page = visitor.open("/profile/second-factor", user=cast.alice, phone=True, color_scheme="dark")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Laptop")
    page.evaluate(
        "() => { navigator.credentials.create = () => Promise.reject(new DOMException('', 'NotAllowedError')) }"
    )
    page.get_by_role("button", name="Create passkey").click()
    expect(page.get_by_role("alert")).to_have_text("No passkey was used. Try again, or enter a code.")
    visitor.shoot(page, "passkey-refused-phone")
