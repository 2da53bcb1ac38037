"""Every page in both themes and on a phone: no barrier, nothing wider than the window."""

import time
from base64 import b32decode
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from django_otp.oath import hotp
from playwright.sync_api import expect
from pytest_django import Settings

from audit_app.models import AuditEvent, SavedView
from environments_app.models import Membership
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.service import issue
from secrets_app.models import Secret
from secrets_app.secret_types.registry import SecretType
from secrets_app.services import lifecycle, read
from tests.browser.accessibility import LOOKS, barriers, flaws, flaws_at
from tests.browser.visitor import Visitor

PAGES = {
    "dashboard": "/",
    "secrets": "/secrets",
    "secrets-of-an-environment": "/secrets?environment=production",
    "nothing-matches": "/secrets?q=zzz",
    "secret": "/secrets/{secret}",
    "new-secret": "/secrets/new",
    "edit-secret": "/secrets/{secret}/edit",
    "rename-secret": "/secrets/{secret}/rename",
    "duplicate-secret": "/secrets/{secret}/duplicate",
    "delete-secret": "/secrets/{secret}/delete",
    "folders": "/secrets?view=folders",
    "matrix": "/secrets/matrix",
    "trash": "/secrets?deleted=on",
    "import": "/secrets/import",
    "table": "/secrets/table",
    "export": "/secrets/export",
    "versions": "/secrets/{secret}/diff",
    "share": "/secrets/{secret}/share",
    "compare": "/compare",
    "environments": "/environments",
    "new-environment": "/environments/new",
    "environment": "/environments/development",
    "member": "/environments/development/members/{member}/change",
    "activity": "/activity",
    "activity-charts": "/activity/charts",
    "record": "/activity/{record}",
    "notifications": "/notifications",
    "tokens": "/tokens",
    "operations": "/operations",
    "access": "/environments/development/access",
    "reports": "/reports",
    "report": "/reports/all",
    "backups": "/backups",
    "integrity": "/integrity",
    "trail": "/integrity/trail",
    "health": "/health",
    "profile": "/profile",
    "second-factor": "/profile/second-factor",
    "device": "/device",
    "loopback": f"/loopback?client_name=alice@laptop&port=50123&state={'s' * 32}&code_challenge={'c' * 43}",
    "confirm": "/confirm",
    "signed-in": "/signed-in",
    "deleted-secret": "/secrets/{deleted}",
    "purge-secret": "/secrets/{deleted}/purge",
    "token": "/environments/development/tokens/{token}",
    "tokens-of-the-installation": "/tokens/installation",
    "token-of-the-installation": "/tokens/installation/{admin_token}",
    "consents": "/environments/development/consents",
    "offboarding": "/people/bob/offboarding",
    "people": "/people",
    "activity-filtered": "/activity?period=7d",
    "recent": "/secrets?recent=on",
    "person": "/people/bob",
}
# Reached by a form alone, or by whoever is not signed in: the tests below go there.
ELSEWHERE = ("/sign-in", "/sign-in/code", "/forgot-password", "/set-password", "/shared/{link}")


@pytest.mark.parametrize("look", LOOKS)
def test_pages_are_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret], look: str
) -> None:
    stored = secret(name="payments/a-rather-long-name/for-a-secret-of-the-payments-service/production-db")
    secret(name="search/config", value='{"a": "b"}', secret_type=SecretType.JSON, environment=cast.production)
    Secret.objects.filter(pk=stored.pk).update(expires_at=timezone.now() + timedelta(days=3))
    raise_alert(
        kind="sync.failed",
        about=stored.uuid,
        environment=cast.development,
        subject="vault: 2 secrets could not be synced",
        lines=["payments/a-rather-long-name/for-a-secret-of-the-payments-service/production-db: no answer"],
        link="/sync",
    )
    SavedView.objects.create(
        owner_uuid=cast.alice.uuid, owner_name="alice", name="Last week", query="period=7d", shared=True
    )
    cast.alice.role = "admin"
    cast.alice.save()
    deleted = secret(name="old/key")
    lifecycle.delete(actor=cast.principal(cast.alice), secret=deleted)
    read.reveal(actor=cast.principal(cast.bob), secret=stored)
    read.reveal_environment(actor=cast.principal(cast.bob), environment=cast.development)
    rows = {
        "record": AuditEvent.objects.get(manifest__isnull=False).pk,
        "secret": stored.pk,
        "member": Membership.objects.get(user=cast.bob).pk,
        "deleted": deleted.pk,
        "token": issue(
            actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci"
        )[0].pk,
        "admin_token": issue(
            actor=cast.principal(cast.alice), environment=None, role="admin", name="terraform"
        )[0].pk,
    }
    cast.erin.suspended_at = timezone.now()
    cast.erin.save()
    page = visitor.open("/", user=cast.alice, **LOOKS[look])
    found = {}
    for name, path in PAGES.items():
        if problems := flaws_at(page, path.format(**rows)):
            found[name] = problems
        visitor.shoot(page, f"{name}-{look}")

    assert found == {}


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_of_who_has_no_session_are_without_barriers(
    visitor: Visitor, cast: Cast, settings: Settings, look: str
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", visitor.site
    page, found = visitor.open("/sign-in", **LOOKS[look]), {}
    visitor.watch(page).expect("status of 422")

    def judge(name: str) -> None:
        visitor.shoot(page, f"{name}-{look}")
        if problems := barriers(page):
            found[name] = problems

    judge("sign-in")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("Email address").fill("alice@example.com")
    judge("forgotten")
    page.get_by_role("button", name="Send link").click()
    page.get_by_role("status").wait_for()
    judge("link-sent")
    # The code is taken from behind the #, and leaves the address bar.
    page.goto(f"{visitor.site}/set-password#{'c' * 43}")
    expect(page.get_by_label("Code", exact=True)).to_be_hidden()
    assert page.url == f"{visitor.site}/set-password"
    judge("choose-password")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("Confirm new password").fill(PASSWORD)
    page.get_by_role("button", name="Save password").click()
    page.get_by_role("alert").wait_for()
    judge("link-ended")

    assert found == {}


@pytest.mark.parametrize("look", LOOKS)
def test_a_revealed_value_is_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret], look: str
) -> None:
    stored = secret(value='{"username": "b", "password": "Kx9"}', secret_type=SecretType.JSON)
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, **LOOKS[look])
    page.get_by_role("button", name="Reveal", exact=True).click()
    page.locator(".value.is-revealed").wait_for()
    visitor.shoot(page, f"revealed-{look}")

    assert barriers(page) == []


@pytest.mark.parametrize("look", ["dark", "phone"])
def test_previews_and_results_are_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret], look: str
) -> None:
    stored = secret(name="payments/db")
    secret(name="only-here")
    page, found = visitor.open("/secrets", user=cast.alice, **LOOKS[look]), {}

    def judge(name: str) -> None:
        page.wait_for_load_state()
        if problems := flaws(page):
            found[name] = problems
        visitor.shoot(page, f"{name}-{look}")

    page.get_by_role("checkbox", name="Select all on this page").check()
    judge("selected")
    page.get_by_role("button", name="Add tags…").click()
    page.wait_for_url("**/secrets/bulk")
    judge("bulk-preview")
    page.goto("/compare?left=development&right=production")
    page.get_by_role("button", name="Compare").click()
    page.locator(".row-link").first.wait_for()
    judge("compared")
    page.goto(f"/secrets/{stored.pk}/share")
    page.get_by_label("Recipient").fill("charlie")
    page.get_by_role("button", name="Create link").click()
    link = page.locator(".secret-once code").inner_text().removeprefix(visitor.site)
    judge("shared-link")
    page = visitor.open(link, user=cast.charlie, **LOOKS[look])
    judge("shared")
    page.get_by_role("button", name="View secret").click()
    page.locator("[data-value]").wait_for()
    judge("shared-value")

    assert found == {}


def _code(secret: str, *, ahead: int = 0) -> str:
    """Return what an authenticator shows now, or next: looking at pages may take longer than a code counts."""
    return f"{hotp(b32decode(secret), int(time.time()) // 30 + ahead):06d}"


def test_setting_up_a_second_factor_is_without_barriers(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/profile/second-factor", user=cast.alice, color_scheme="dark", phone=True)
    page.get_by_role("button", name="Set up").click()
    page.locator("svg.qr").wait_for()
    visitor.shoot(page, "second-factor-start")
    assert flaws(page) == []
    secret = page.get_by_label("Key for the authenticator").inner_text().replace(" ", "")
    page.get_by_label("Code", exact=True).fill(_code(secret))
    page.get_by_role("button", name="Turn on").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    visitor.shoot(page, "recovery-codes")
    assert flaws(page) == []

    other = visitor.open("/sign-in", color_scheme="light")
    other.get_by_label("Username").fill("alice")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    other.get_by_role("heading", name="Two-factor authentication").wait_for()
    visitor.shoot(other, "sign-in-code")
    assert barriers(other) == []
    other.get_by_label("Authentication code").fill(_code(secret, ahead=1))
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url("**/")
