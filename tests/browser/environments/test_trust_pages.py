"""The pages of trusts in both themes and on a phone, and the test of a sample token."""

from playwright.sync_api import expect

from environments_app.models import Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from tests.browser.accessibility import Inspection
from tests.browser.visitor import Visitor

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
