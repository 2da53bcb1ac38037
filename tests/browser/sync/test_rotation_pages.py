"""The rotation pages in a browser: without barriers in every look, confirmed before it matters, without scripts."""

from dataclasses import replace

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
from sync_app.rotation.execution.logins import LoginComparison
from sync_app.rotation.execution.runner import execute
from sync_app.rotators.base import LoginDifference
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret
from sync_app.views import rotation as rotation_views
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
    "rotation-leaked": "/rotation/leaked",
    "rotation-usage": "/secrets/{secret}/usage",
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


LOGIN = "payments_service_production_second_login"
DIFFERENCES = (
    LoginDifference(
        what="app_a has SELECT on the table public.a_rather_long_name_of_a_table, app_b has not",
        sql=f'GRANT SELECT ON TABLE "public"."a_rather_long_name_of_a_table_of_payments" TO "{LOGIN}"',
        database="payments_production",
    ),
    LoginDifference(
        what=f"the setting search_path differs between app_a and {LOGIN}",
        sql=f"ALTER ROLE \"{LOGIN}\" SET search_path TO 'payments', 'public'",
    ),
    LoginDifference(what="line 97 of pg_hba.conf is for app_a and not for app_b", todo="add app_b to it"),
)
REFUSED = replace(DIFFERENCES[0], refused="PostgreSQL refused it: permission denied for table (42501)")


def test_compared_logins_are_without_barriers(
    visitor: Visitor, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = RotationPolicy.objects.select_related("environment").get(pk=scene.policy.pk)
    policy.rotator, policy.settings = "postgresql", {"host": "db.example", "login_a": "a", "login_b": LOGIN}
    policy.endpoint = "db.example:5432"
    policy.save(update_fields=["rotator", "settings", "endpoint"])
    answers = [DIFFERENCES, (REFUSED, DIFFERENCES[2]), (), ()]

    def answer(**_given: object) -> LoginComparison:
        return LoginComparison(
            login=LOGIN, differences=answers.pop(0), not_compared="pg_hba.conf, which it may not read"
        )

    # The databases answer in the tests of the rotators; here is what their answers look like.
    for name in ("compare_logins", "align_logins"):
        monkeypatch.setattr(rotation_views, name, answer)
    page, inspection = visitor.open(f"/rotation/{policy.pk}", user=scene.cast.alice), Inspection(visitor)
    inspection.look_at(page, "rotation-with-logins")
    page.get_by_role("button", name="Compare logins").click()
    expect(page.get_by_text(f"{LOGIN} differs from the current login.")).to_be_visible()
    inspection.look_at(page, "logins-differ")
    page.get_by_role("button", name=f"Make {LOGIN} like the current login").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Keeper runs the statements that are shown, on db.example:5432.")
    inspection.look_at(page, "logins-confirmed")
    dialog.get_by_role("button", name="Run").click()
    expect(page.get_by_text("permission denied for table")).to_be_visible()
    inspection.look_at(page, "logins-refused")
    page.get_by_role("button", name="Compare again").click()
    expect(page.get_by_text("Both logins are alike.")).to_be_visible()
    expect(page.get_by_text("Not compared: pg_hba.conf, which it may not read.")).to_be_visible()
    inspection.look_at(page, "logins-alike")

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
