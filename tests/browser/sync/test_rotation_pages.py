"""The rotation pages in a browser: without barriers in every look, confirmed before it matters, without scripts."""

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import read
from secrets_app.tests.kept import keep
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.execution.consumers import acknowledge
from sync_app.rotation.execution.runner import execute
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret
from sync_app.tests.rotators.worlds import GeneratedWorld
from tests.browser.accessibility import Inspection
from tests.browser.visitor import Visitor

LONG = "payments/a-rather-long-name/for-a-secret-of-the-payments-service/production-db"
PAGES = {
    "rotation-exposure": "/rotation/exposure?who=bob",
    "rotation-emergency": "/rotation/exposure?who=bob&emergency=on",
    "rotation-left": "/rotation/{left}",
    "rotation": "/rotation",
    "rotation-policy": "/rotation/{policy}",
    "rotation-stopped": "/rotation/{stopped}",
    "rotation-rules": "/rotation/{policy}/rules",
    "rotation-connection": "/rotation/{policy}/connection",
    "rotation-kinds": "/rotation/secrets/{secret}/new",
    "rotation-new-generated": "/rotation/secrets/{secret}/new?rotator=generated",
    "rotation-new": "/rotation/secrets/{secret}/new?rotator=mysql",
    "rotation-on-secret": "/secrets/{secret}",
}


class Scene:
    """A policy in its grace with a consumer behind, and one whose rotation stopped."""

    def __init__(self, cast: Cast) -> None:
        self.cast, world = cast, GeneratedWorld()
        self.secret: Secret = made_secret(cast, world, name=LONG)
        self.policy: RotationPolicy = made_policy(
            cast, world, secret=self.secret, interval_seconds=86_400, window="mon-fri 01:00-05:00"
        )
        acknowledge(actor=cast.principal(cast.bob), secret=self.secret, number=1, instance="worker-1")
        execute(asked(cast, self.policy, reason="somebody left").pk)
        self.stopped: RotationPolicy = made_policy(
            cast, world, secret=made_secret(cast, world, name="web/key")
        )
        rotation = asked(cast, self.stopped)
        Rotation.objects.filter(pk=rotation.pk).update(attempts=12, problem="the server does not answer")
        execute(rotation.pk)
        self.left = self._left_behind(world)
        # What bob knows: one that would rotate, one that stopped, and one that needs a hand.
        for secret in (self.secret, self.stopped.secret, keep(cast, "mail/smtp-password")):
            read.reveal(actor=cast.principal(cast.bob), secret=secret)
        self.rows = {
            "policy": self.policy.pk,
            "stopped": self.stopped.pk,
            "left": self.left.pk,
            "secret": self.secret.pk,
        }

    def _left_behind(self, world: GeneratedWorld) -> RotationPolicy:
        """Return a policy whose rotation was given up while it retired the login before."""
        policy = made_policy(self.cast, world, secret=made_secret(self.cast, world, name="ops/root"))
        rotation = asked(self.cast, policy)
        execute(rotation.pk)
        row = again(rotation)
        row.step, row.stopped_at = Step.RETIRE, timezone.now()
        row.save()
        operator_actions.abandon(actor=self.cast.principal(self.cast.alice), rotation=again(rotation))
        return policy


@pytest.fixture
def scene(cast: Cast) -> Scene:
    return Scene(cast)


def test_the_rotation_pages_are_without_barriers(visitor: Visitor, scene: Scene) -> None:
    page, inspection = visitor.open("/", user=scene.cast.alice, phone=True), Inspection(visitor)
    for name, path in PAGES.items():
        inspection.visit(page, name, path.format(**scene.rows))
    page.goto(PAGES["rotation-emergency"])
    page.get_by_label("Type bob to continue").fill("bob")
    page.get_by_role("button", name="Rotate without overlap").click()
    expect(page.get_by_role("heading", name="Results")).to_be_visible()
    inspection.look_at(page, "rotation-exposed")
    assert inspection.found == {}


def test_ending_a_grace_is_confirmed_first(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/rotation/{scene.policy.pk}", user=scene.cast.alice)
    page.get_by_role("button", name="End overlap").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The value that is not current is no longer available")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert not Rotation.objects.filter(policy=scene.policy, cut=True).exists()


def test_a_rotation_is_rolled_back_without_scripts(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/rotation/{scene.policy.pk}", user=scene.cast.alice, java_script_enabled=False)
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".messages")).to_contain_text("The previous value becomes current again")
    assert Rotation.objects.get(policy=scene.policy).step == Step.GRACE
    assert Secret.objects.get(pk=scene.secret.pk).current_number == 1
