"""The pages of rotation: what they show of policies and rotations, and what they do."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution.runner import execute
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import asked, made_policy, made_secret, worked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]
SignedIn = Callable[..., Client]


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return " ".join(response.content.decode().split())


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return made_secret(cast, GeneratedWorld())


def test_a_manager_puts_a_secret_under_rotation_and_an_editor_rotates_it(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    alice, erin = signed_in(cast.alice), signed_in(cast.erin)
    new = f"/rotation/secrets/{secret.pk}/new"
    assert new in text(alice, f"/secrets/{secret.pk}")
    assert new not in text(erin, f"/secrets/{secret.pk}")
    assert "?rotator=generated" in text(alice, new)
    # A certificate has lines, which an input of one line would lose.
    assert '<textarea name="setting-ca_certificate"' in text(alice, f"{new}?rotator=mysql")
    form = {
        "setting-kind": "password",
        "setting-option-password-lowercase": "on",
        "interval_seconds": "86400",
        "time_zone": "UTC",
        "grace_seconds": "3600",
    }
    wrong = alice.post(f"{new}?rotator=generated", {**form, "cron": "0 3 * * *"})
    assert wrong.status_code == 422
    assert "not both" in wrong.content.decode()
    assert alice.post(f"{new}?rotator=generated", form).status_code == 302
    policy = RotationPolicy.objects.get()
    page = f"/rotation/{policy.pk}"
    assert "every 1 day" in text(erin, page)
    assert "Generated value" in text(erin, "/rotation")
    assert "Generated value" in text(erin, f"/secrets/{secret.pk}")
    assert "Never rotated" in text(erin, page)
    assert erin.post(f"{page}/rotate").status_code == 302
    execute(Rotation.objects.get().pk)
    shown = text(erin, page)
    assert "its overlap ends" in shown
    assert "v1 → v2" in shown
    assert "Roll back" in shown
    assert "End overlap" not in shown
    rotation = f"/rotation/rotations/{Rotation.objects.get().pk}"
    assert erin.post(f"{rotation}/roll_back").status_code == 302
    assert Secret.objects.get().current_number == 1
    shown = text(erin, page)
    assert "Rolled back: v1 is served again. v2 keeps working; its overlap ends" in shown
    assert "rolled back: v1 is served again" in shown
    assert "The previous value keeps working" not in shown
    assert alice.post(f"{rotation}/cut_grace").status_code == 302
    execute(Rotation.objects.get().pk)
    assert Rotation.objects.get().step == Step.ROLLED_BACK
    assert "rolled back" in text(erin, page)
    assert "Ready to rotate" in erin.post(f"{page}/dry-run").content.decode()


def test_what_stopped_is_found_on_every_list(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    policy = made_policy(cast, GeneratedWorld(), secret=secret, interval_seconds=3600)
    resting = made_policy(cast, GeneratedWorld(), secret=made_secret(cast, GeneratedWorld(), name="calm"))
    rotation = asked(cast, policy)
    Rotation.objects.update(attempts=12, problem="the server does not answer")
    assert worked(rotation).stopped_at is not None
    erin = signed_in(cast.erin)
    for path in ("/rotation", "/rotation?state=failed", "/rotation?environment=development"):
        shown = text(erin, path)
        assert "the server does not answer" in shown
        assert ("calm" in shown) == ("failed" not in path)
    assert "app/" not in text(erin, "/rotation?state=overdue")
    assert "the server does not answer" in text(erin, f"/rotation/{policy.pk}")
    assert "the server does not answer" in text(erin, f"/secrets/{secret.pk}")
    stopped = text(erin, "/secrets?rotation_state=stopped")
    assert "stopped" in stopped
    assert "calm" not in stopped
    # The time that lists and dashboard go by.
    assert Secret.objects.get(pk=secret.pk).rotation_due_at == policy.due_at
    assert "Set up rotation" not in text(erin, f"/secrets/{resting.secret.pk}")
    # Somebody who may see neither learns nothing of them.
    assert "app/" not in text(signed_in(cast.charlie), "/rotation")


def test_the_form_announces_the_approval_of_a_protected_environment(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    alice, new = signed_in(cast.alice), f"/rotation/secrets/{secret.pk}/new?rotator=mysql"
    assert "needs approval" not in text(alice, new)
    secret.environment.protected = True
    secret.environment.save()
    assert "needs approval" in text(alice, new)


def test_a_value_that_is_no_login_is_not_spoken_of_as_one(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    alice = signed_in(cast.alice)
    new = f"/rotation/secrets/{secret.pk}/new"
    for word in ("dministrator",):
        assert word in text(alice, f"{new}?rotator=mysql")
        assert word not in text(alice, f"{new}?rotator=generated")
    policy = made_policy(cast, GeneratedWorld(), secret=secret, grace_seconds=3600)
    connection = f"/rotation/{policy.pk}/connection"
    assert "The current value does not change" in text(alice, connection)
    saved = alice.post(
        connection,
        {
            "setting-kind": "password",
            "setting-option-password-length": "40",
            "setting-option-password-digits": "on",
        },
        follow=True,
    )
    assert "Generator changed" in saved.content.decode()
    worked(asked(cast, policy))
    page = text(alice, f"/rotation/{policy.pk}")
    assert "Overlap with the previous value" in page
    for word in ("idle login", "logs in", "Log in", "credential", "dministrator"):
        assert word not in page


def test_who_edits_is_told_beforehand_that_a_policy_writes_the_value(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    erin, edit = signed_in(cast.erin), f"/secrets/{secret.pk}/edit"
    assert "Rotate it instead" not in text(erin, edit)
    made_policy(cast, GeneratedWorld(), secret=secret)
    assert "Rotate it instead" in text(erin, edit)


def test_a_value_under_rotation_is_refused_on_its_own_form(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    made_policy(cast, GeneratedWorld(), secret=secret)
    form = {
        "name": secret.name,
        "environment": secret.environment_id,
        "secret_type": "TEXT",
        "value": "by-hand-canary",
    }
    response = signed_in(cast.erin).post(f"/secrets/{secret.pk}/edit", form)
    assert "Only its rotation policy writes" in response.content.decode()
    assert Secret.objects.get().current_number == 1
