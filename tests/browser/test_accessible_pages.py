"""Every page in both themes and on a phone: no barrier, nothing wider than the window."""

import time
from base64 import b32decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from django_otp.oath import hotp
from playwright.sync_api import expect
from pytest_django import Settings

from audit_app.models import AuditEvent, SavedView
from environments_app.models import (
    SAML_ISSUER,
    Departure,
    Environment,
    Membership,
    ProgramRelease,
    ServiceToken,
)
from environments_app.notifications.service import raise_alert
from environments_app.reviews import service as reviews
from environments_app.single_sign_on.connected import Offer
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.service import issue
from environments_app.users.accounts import set_password
from environments_app.views import profile
from secrets_app.departures.ending import offboard
from secrets_app.models import Proof, Secret
from secrets_app.services import decoys, emergency, guarded, lifecycle, read
from secrets_app.services.outside import share_outside
from secrets_app.types.registry import SecretType
from tests.browser.accessibility import Inspection
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
    "matrix-row": "/secrets/matrix/row?name=payments/db",
    "trash": "/secrets?deleted=on",
    "import": "/secrets/import",
    "matrix-column": "/secrets/matrix?edit=development",
    "export": "/secrets/export",
    "guard-secret": "/secrets/{secret}/guard",
    "guarded-secret": "/secrets/{guarded}",
    "end-guard": "/secrets/{guarded}/unguard",
    "make-decoy": "/secrets/{secret}/make-decoy",
    "decoy-secret": "/secrets/{decoy}",
    "end-decoy": "/secrets/{decoy}/end-decoy",
    "versions": "/secrets/{secret}/diff",
    "share": "/secrets/{secret}/share",
    "environments": "/environments",
    "new-environment": "/environments/new",
    "environment": "/environments/development",
    "clone": "/environments/development/clone",
    "environment-delete": "/environments/development/delete",
    "deleted-environments": "/deleted-environments",
    "member": "/environments/development/members/{member}/change",
    "activity": "/activity",
    "activity-charts": "/activity/charts",
    "record": "/activity/{record}",
    "notifications": "/notifications",
    "tokens": "/tokens",
    "access": "/environments/development/access",
    "access-that-day": "/environments/development/access?as_of={today}",
    "reports": "/reports",
    "report": "/reports/all",
    "report-to-print": "/reports/all.html",
    "backups": "/backups",
    "integrity": "/integrity",
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
    "departures": "/departures",
    "departure": "/departures/{departure}",
    "people": "/people",
    "activity-filtered": "/activity?period=7d",
    "recent": "/secrets?recent=on",
    "person": "/people/bob",
    "reviews": "/reviews",
    "new-review": "/reviews/new",
    "review": "/reviews/{review}",
    "emergency-reads": "/emergency-reads",
    "emergency-read": "/emergency-reads/{emergency}",
    "release-new": "/environments/development/releases/new?reads=secret&path=root/key",
}
# Reached by a form alone, or by whoever is not signed in: the tests below go there.
ELSEWHERE = (
    "/sign-in", "/sign-in/code", "/forgot-password", "/set-password", "/shared/{link}", "/shared", "/profile/password",
    "/profile/sign-ins/connect",
)  # fmt: skip


def test_what_is_wrong_in_one_look_alone_is_found(visitor: Visitor, cast: Cast) -> None:
    page, inspection = visitor.open("/profile", user=cast.alice), Inspection(visitor)
    visitor.watch(page).expect("status of 404")
    title = page.get_by_role("heading", level=1)
    title.evaluate("title => { title.style.color = 'rgb(60, 64, 70)'; title.style.minWidth = '600px' }")
    inspection.look_at(page, "spoilt")
    inspection.visit(page, "nowhere", "/no-such-page")

    assert [*inspection.found] == ["spoilt, dark", "spoilt, phone", "nowhere"]


def test_pages_are_without_barriers(visitor: Visitor, cast: Cast, secret: Callable[..., Secret]) -> None:
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
    # Read by somebody who left; the page asks administrators and managers for a decision.
    Membership.objects.create(user=cast.charlie, environment=cast.development, role="reader")
    read.reveal(actor=cast.principal(cast.charlie), secret=stored)
    offboard(actor=cast.principal(cast.alice), user=cast.charlie)
    root = guarded.guard(actor=cast.principal(cast.alice), secret=secret(name="root/key"))
    rows: dict[str, Any] = {
        "today": timezone.now().date(),
        "departure": Departure.objects.get().pk,
        "record": AuditEvent.objects.get(manifest__isnull=False).pk,
        "secret": stored.pk,
        "member": Membership.objects.get(user=cast.bob).pk,
        "deleted": deleted.pk,
        "guarded": root.pk,
        "decoy": decoys.make_decoy(actor=cast.principal(cast.alice), secret=secret(name="backup/root")).pk,
        "token": issue(
            actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci"
        )[0].pk,
        "admin_token": issue(
            actor=cast.principal(cast.alice), environment=None, role="admin", name="terraform"
        )[0].pk,
    }
    for path, secret_uuid in (("root/key", root.uuid), ("root", None)):
        ProgramRelease.objects.create(
            environment=cast.development,
            program_kind="token",
            program_uuid=ServiceToken.objects.get(pk=rows["token"]).uuid,
            program_name="ci",
            secret_uuid=secret_uuid,
            path=path,
            reason="The nightly job restores the vault",
            asked_by_uuid=cast.alice.uuid,
            asked_by_name="alice",
            agreed_by="charlie",
            approval=uuid4(),
            expires_at=None if secret_uuid else timezone.now() + timedelta(days=30),
        )
    rows["review"] = reviews.start(
        actor=cast.principal(cast.root), name="Q4", environments=[cast.development], installation=True
    ).pk
    place = Environment.objects.get(pk=cast.development.pk)
    place.emergency_reads = True
    place.save()
    emergency.read_in_emergency(
        actor=cast.principal(cast.bob),
        secret=Secret.objects.select_related("environment").get(pk=root.pk),
        reason="The database is down, and nobody answers",
    )
    rows["emergency"] = AuditEvent.objects.get(action="member.break_glass").object_uuid
    cast.erin.suspended_at = timezone.now()
    cast.erin.save()
    page, inspection = visitor.open("/", user=cast.alice), Inspection(visitor)
    for name, path in PAGES.items():
        inspection.visit(page, name, path.format(**rows))

    assert inspection.found == {}


def test_the_offer_to_connect_a_sign_in_is_without_barriers(
    visitor: Visitor, cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_SAML = True
    offered = Offer(issuer=SAML_ISSUER, subject="alice", name="alice@example.com", until=2**31)
    monkeypatch.setattr(profile, "offered_in", lambda _request: offered)
    page, inspection = visitor.open("/", user=cast.alice), Inspection(visitor)
    inspection.visit(page, "connect-sign-in", "/profile/sign-ins/connect")
    assert inspection.found == {}


def test_the_pages_of_who_has_no_session_are_without_barriers(
    visitor: Visitor, cast: Cast, settings: Settings
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", visitor.site
    page, inspection = visitor.open("/sign-in", phone=True), Inspection(visitor)
    visitor.watch(page).expect("status of 422")

    inspection.look_at(page, "sign-in")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("Email address").fill("alice@example.com")
    inspection.look_at(page, "forgotten")
    page.get_by_role("button", name="Send link").click()
    page.get_by_role("status").wait_for()
    inspection.look_at(page, "link-sent")
    # The code is taken from behind the #, and leaves the address bar.
    page.goto(f"{visitor.site}/set-password#{'c' * 43}")
    expect(page.get_by_label("Code", exact=True)).to_be_hidden()
    assert page.url == f"{visitor.site}/set-password"
    inspection.look_at(page, "choose-password")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("Confirm new password").fill(PASSWORD)
    page.get_by_role("button", name="Save password").click()
    page.get_by_role("alert").wait_for()
    inspection.look_at(page, "link-ended")

    assert inspection.found == {}


def test_a_revealed_value_is_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret]
) -> None:
    stored = secret(value='{"username": "b", "password": "Kx9"}', secret_type=SecretType.JSON)
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, phone=True)
    page.get_by_role("button", name="Reveal", exact=True).click()
    page.locator(".value.is-revealed").wait_for()
    inspection = Inspection(visitor)
    inspection.look_at(page, "revealed")

    assert inspection.found == {}


def test_previews_and_results_are_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret]
) -> None:
    stored = secret(name="payments/db")
    secret(name="only-here")
    page, inspection = visitor.open("/secrets", user=cast.alice, phone=True), Inspection(visitor)

    def judge(name: str) -> None:
        page.wait_for_load_state()
        inspection.look_at(page, name)

    page.get_by_role("checkbox", name="Select all on this page").check()
    judge("selected")
    page.get_by_role("button", name="Add tags…").click()
    page.wait_for_url("**/secrets/bulk")
    judge("bulk-preview")
    page.goto("/compare?left=development&right=production")
    page.get_by_label("More actions").locator("visible=true").click()
    page.get_by_role("button", name="Only differences").click()
    page.locator(".compare-summary").wait_for()
    judge("compared")
    page.get_by_role("checkbox", name="Select only-here").check()
    judge("compared-selected")
    page.get_by_role("button", name="Promote…").click()
    page.get_by_role("button", name="Promote 1 secret").wait_for()
    judge("promotion")
    page.goto(f"/secrets/{stored.pk}/share")
    page.get_by_label("Recipient").fill("charlie")
    page.get_by_role("button", name="Create link").click()
    link = page.locator(".secret-once code").inner_text().removeprefix(visitor.site)
    judge("shared-link")
    page = visitor.open(link, user=cast.charlie, phone=True)
    judge("shared")
    page.get_by_role("button", name="View secret").click()
    page.locator("[data-value]").wait_for()
    judge("shared-value")

    assert inspection.found == {}


def test_a_link_for_somebody_outside_is_opened_without_barriers(
    visitor: Visitor, cast: Cast, secret: Callable[..., Secret]
) -> None:
    place = Environment.objects.get(pk=cast.development.pk)
    place.outside_hours = 8
    place.save()
    stored = Secret.objects.select_related("environment").get(pk=secret(name="payments/db").pk)
    alice = cast.principal(cast.alice)
    made = share_outside(actor=alice, secret=stored, proof=Proof.PHRASE, hours=8)
    page, inspection = visitor.open(f"/shared#{made.link}", phone=True), Inspection(visitor)
    page.get_by_role("button", name="Continue").wait_for()
    visitor.watch(page).expect("422")
    visitor.watch(page).expect("410")
    # Neither the address bar nor the history keeps it.
    page.wait_for_url("**/shared")
    assert not page.get_by_label("Code of the link").is_visible()
    inspection.look_at(page, "outside")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Pass phrase").fill("wrong")
    page.get_by_role("button", name="View secret").click()
    page.get_by_text("4 tries left").wait_for()
    inspection.look_at(page, "outside-wrong")
    page.get_by_label("Pass phrase").fill(made.phrase)
    page.get_by_role("button", name="View secret").click()
    page.locator("[data-value]").wait_for()
    inspection.look_at(page, "outside-value")
    page.goto("about:blank")
    page.goto(f"/shared#{made.link}")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("heading", name="This link doesn't work").wait_for()
    inspection.look_at(page, "outside-ended")
    assert page.context.cookies() == []

    assert inspection.found == {}


def _code(secret: str, *, ahead: int = 0) -> str:
    """Return what an authenticator shows now, or next: looking at pages may take longer than a code counts."""
    return f"{hotp(b32decode(secret), int(time.time()) // 30 + ahead):06d}"


def test_a_temporary_password_is_replaced_without_barriers(visitor: Visitor, cast: Cast) -> None:
    password = "another-long-password"
    set_password(actor=cast.principal(cast.root).proven(), user=cast.bob, password=password)
    page, inspection = visitor.open("/sign-in", phone=True), Inspection(visitor)
    page.get_by_label("Username").fill("bob")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/profile/password")
    inspection.look_at(page, "temporary-password")

    assert inspection.found == {}


def test_setting_up_a_second_factor_is_without_barriers(visitor: Visitor, cast: Cast) -> None:
    page = visitor.open("/profile/second-factor", user=cast.alice, phone=True)
    inspection = Inspection(visitor)
    page.get_by_role("button", name="Set up").click()
    page.locator("svg.qr").wait_for()
    inspection.look_at(page, "second-factor-start")
    secret = page.get_by_label("Key for the authenticator").inner_text().replace(" ", "")
    page.get_by_label("Code", exact=True).fill(_code(secret))
    page.get_by_role("button", name="Turn on").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    inspection.look_at(page, "recovery-codes")

    other = visitor.open("/sign-in", color_scheme="light")
    other.get_by_label("Username").fill("alice")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in", exact=True).click()
    other.get_by_role("heading", name="Two-factor authentication").wait_for()
    inspection.look_at(other, "sign-in-code")
    assert inspection.found == {}
    other.get_by_label("Authentication code").fill(_code(secret, ahead=1))
    other.get_by_role("button", name="Sign in", exact=True).click()
    other.wait_for_url("**/")
