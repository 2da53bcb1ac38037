"""The pages of trusts in both themes and on a phone, and the test of a sample token."""

import pytest
from playwright.sync_api import expect

from environments_app.approvals.applying import approve_and_apply
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role, Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import service
from secrets_app.models import Secret
from secrets_app.services import guarded, releases
from secrets_app.tests.kept import keep
from tests.browser.accessibility import Inspection
from tests.browser.visitor import PHONE, Visitor

PAGES = {
    "new-trust": "/environments/development/trusts/new/github",
    "trust": "/environments/development/trusts/{trust}",
    "environment-with-trusts": "/environments/development#trusts",
}
CLAIMS = {"repository": "example/shop", "sub": "repo:example/shop:ref:refs/heads/*"}


def trust_of(cast: Cast, issuer: Issuer) -> Trust:
    return make_trust(
        cast, issuer, environment=cast.development, preset="github", claims=CLAIMS, prefix="payments"
    )


def test_pages_are_without_barriers(visitor: Visitor, cast: Cast) -> None:
    issuer = Issuer()
    trust = trust_of(cast, issuer)
    page, inspection = visitor.open("/", user=cast.alice, phone=True), Inspection(visitor)
    for name, path in PAGES.items():
        inspection.visit(page, name, path.format(trust=trust.pk))
    page.goto(page.url.split("/environments")[0] + PAGES["trust"].format(trust=trust.pk))
    page.locator("#id_jwt").fill(issuer.sign(repository="mallory/shop", ref="refs/heads/main"))
    page.get_by_role("button", name="Test token").click()
    expect(page.get_by_text("The token would be refused.")).to_be_visible()
    inspection.look_at(page, "tested-trust")

    assert inspection.found == {}


def test_a_long_issuer_and_a_lapsed_release_fit_on_a_phone(visitor: Visitor, cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    trust = make_trust(
        cast, Issuer(), environment=cast.development, name="a-program-with-a-rather-long-name-of-its-own",
        issuer="https://token.actions.githubusercontent-of-the-enterprise.example.com/a/rather/long/path",
    )  # fmt: skip
    secret = keep(cast, "app/db")
    guarded.guard(actor=cast.principal(cast.alice), secret=secret)
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    with pytest.raises(ApprovalNeeded) as raised:
        releases.release(
            actor=cast.principal(cast.alice), environment=cast.development, program=trust, secret=secret,
            reason="The nightly job restores the vault",
        )  # fmt: skip
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    page, inspection = visitor.open("/", user=cast.charlie), Inspection(visitor)
    inspection.visit(page, "release-of-a-long-issuer", f"/approvals/{asked.pk}")
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=asked).done
    service.change(actor=cast.principal(cast.alice), trust=Trust.objects.get(), enabled=False)
    inspection.visit(page, "access-with-a-long-issuer", "/environments/development/access")
    inspection.visit(page, "usage-with-a-long-issuer", f"/secrets/{secret.pk}/usage")
    inspection.visit(page, "secret-with-a-lapsed-release", f"/secrets/{secret.pk}")

    assert inspection.found == {}
    # Who agreed and why is on a phone as well.
    page.set_viewport_size(PHONE)
    expect(page.locator("#releases").get_by_text("alice and charlie, just now:")).to_be_visible()


def test_a_manager_creates_a_trust_and_a_workload_signs_in(visitor: Visitor, cast: Cast) -> None:
    issuer = Issuer()
    page = visitor.open("/environments/development#trusts", user=cast.alice)
    page.get_by_role("link", name="OpenID Connect").click()
    page.locator("#id_trust_name").fill("reporting")
    page.locator("#id_trust_claims").fill("sub = a-service")
    page.locator("#id_trust_issuer").fill(issuer.url)
    page.locator("#id_trust_audience").fill("https://keeper.test")
    page.locator("#id_trust_jwks").fill(issuer.jwks())
    page.get_by_role("button", name="Create trust").click()
    expect(page.get_by_role("heading", name="reporting")).to_be_visible()
    page.locator("#id_jwt").fill(issuer.sign())
    page.get_by_role("button", name="Test token").click()
    expect(page.get_by_text("The token meets every rule.")).to_be_visible()
    assert Trust.objects.get().claims == {"sub": "a-service"}
