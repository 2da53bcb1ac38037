"""Secrets under rotation, made by the use cases, and workers that carry rotations on."""

from datetime import timedelta
from typing import Any

from django.db.models import F

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import read, write
from secrets_app.types.registry import SecretType
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.rotators.registry import ROTATORS
from sync_app.tests.rotators.worlds import World

# Where a World ends, the name of its rotator.
NAMES = {kind: name for name, kind in ROTATORS.items()}


def made_secret(cast: Cast, world: World, *, name: str = "app/db", **given: Any) -> Secret:
    secret_type = SecretType.TEXT if world.kind.supports_probe is False else SecretType.JSON
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name=name,
        secret_type=secret_type,
        value=world.current,
        **given,
    )


def made_policy(cast: Cast, world: World, *, secret: Secret | None = None, **rules: Any) -> RotationPolicy:
    """Put a secret of the world under a policy, as alice."""
    given: dict[str, Any] = {"settings": world.settings(), "credentials": world.admin()} | rules
    return policies.create(
        actor=cast.principal(cast.alice),
        secret=secret or made_secret(cast, world),
        rotator=NAMES[world.kind],
        **given,
    )


def asked(cast: Cast, policy: RotationPolicy, **given: Any) -> Rotation:
    return request_rotation(actor=cast.principal(cast.erin), policy=policy, **given)


def worked(rotation: Rotation) -> Rotation:
    """Let a worker look once, and return the rotation as it then stands."""
    execution_runner.execute(rotation.pk)
    return again(rotation)


def again(rotation: Rotation) -> Rotation:
    rows = Rotation.objects.select_related("policy__environment", "policy__secret__environment")
    return rows.get(pk=rotation.pk)


def stages(cast: Cast, secret: Secret) -> dict[str, str | None]:
    """Return what the secret holds at each stage, revealed as bob, who may read."""
    fresh = stored(secret)
    numbers = {
        "current": fresh.current_number,
        "previous": fresh.previous_number,
        "pending": fresh.pending_number,
    }
    actor = cast.principal(cast.bob)
    return {
        stage: read.reveal(actor=actor, secret=fresh, number=number).value if number else None
        for stage, number in numbers.items()
    }


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def grace_over(rotation: Rotation) -> Rotation:
    """Let the grace of a rotation be over, by making it begin long ago."""
    fresh = again(rotation)
    if fresh.grace_until is None:
        raise AssertionError("there is no grace")
    fresh.grace_until -= timedelta(days=365)
    fresh.save(update_fields=["grace_until"])
    return fresh


def waited(rotation: Rotation) -> Rotation:
    """Let the time until the next attempt, and a dead worker's lease, be over."""
    Rotation.objects.filter(pk=rotation.pk).update(
        not_before=None, lease_until=F("queued_at") - timedelta(days=1)
    )
    return again(rotation)
