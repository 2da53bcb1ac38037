"""The rotation pages in a browser: without barriers in every look, confirmed before it matters, without scripts."""

from typing import Any

import pytest
from playwright.sync_api import expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.acknowledging import acknowledge
from sync_app.rotation.running import execute
from sync_app.rotation.states import Step
from sync_app.tests.rotation.making import asked, made_policy, made_secret
from sync_app.tests.rotators.worlds import GeneratedWorld
from tests.browser.accessibility import barriers
from tests.browser.test_accessible_pages import LOOKS
from tests.browser.visitor import Visitor

_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LONG = "payments/a-rather-long-name/for-a-secret-of-the-payments-service/production-db"


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
        self.pages = {
            "rotation": "/rotation",
            "rotation-policy": f"/rotation/{self.policy.pk}",
            "rotation-stopped": f"/rotation/{self.stopped.pk}",
            "rotation-rules": f"/rotation/{self.policy.pk}/rules",
            "rotation-kinds": f"/rotation/secrets/{self.secret.pk}/new",
            "rotation-new": f"/rotation/secrets/{self.secret.pk}/new?rotator=mysql",
            "rotation-on-secret": f"/secrets/{self.secret.pk}",
        }


@pytest.fixture
def scene(cast: Cast) -> Scene:
    return Scene(cast)


@pytest.mark.parametrize("look", LOOKS)
def test_the_rotation_pages_are_without_barriers(visitor: Visitor, scene: Scene, look: str) -> None:
    options: dict[str, Any] = LOOKS[look]
    page = visitor.open("/", user=scene.cast.alice, **options)
    found = {}
    for name, path in scene.pages.items():
        page.goto(path)
        wide = page.evaluate(_OVERFLOW)
        problems = barriers(page) + ([f"wider than the window by {wide} px"] if wide > 0 else [])
        if problems:
            found[name] = problems
        visitor.shoot(page, f"{name}-{look}")
    assert not found


def test_ending_a_grace_is_confirmed_first(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/rotation/{scene.policy.pk}", user=scene.cast.alice)
    page.get_by_role("button", name="End the grace").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The value before stops working now")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert not Rotation.objects.filter(policy=scene.policy, cut=True).exists()


def test_a_rotation_is_rolled_back_without_scripts(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/rotation/{scene.policy.pk}", user=scene.cast.alice, java_script_enabled=False)
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".messages")).to_contain_text("The value before is served again")
    assert Rotation.objects.get(policy=scene.policy).step == Step.GRACE
    assert Secret.objects.get(pk=scene.secret.pk).current_number == 1
