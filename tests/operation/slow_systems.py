"""Puts a running Keeper among systems that never come to an end: `python -m tests.operation.slow_systems` with JSON.

Makes a target that answers, if there is one, many that do not, rotations of both kinds, and a message to
operators, in `development`.
"""

import json
import sys
from typing import Any
from uuid import uuid4

import django

NAME, VALUE, ROTATED = "app/one", "kept-beside-slow-ones", "app/rotated"


def untried(_actor: object, policy: Any, rotator: Any, _action: object) -> None:
    """Take the place of a rotator without asking it for anything."""
    policy.settings, policy.endpoint = dict(rotator.settings), rotator.endpoint


def prepare(*, answers: dict[str, Any] | None, hostile: str, number: int, rotations: int = 0) -> None:
    """Make all of it, due at once."""
    from environments_app.models import Environment
    from environments_app.notifications.service import raise_alert
    from secrets_app.services import write
    from secrets_app.types.registry import SecretType
    from sync_app.jobs.leases import database_now
    from sync_app.models import RotationPolicy, Target
    from sync_app.rotation.policies import service as policies
    from sync_app.targets import service as targets
    from sync_app.targets.default_targets import _system_actor
    from sync_app.targets.destinations import Identity

    place = Environment.objects.get(name="development")
    actor = _system_actor(place)
    rules: dict[str, Any] = {"actor": actor, "environment": place, "backend": "vault_kv2", "automatic": True}
    write.create(actor=actor, environment=place, name=NAME, secret_type=SecretType.TEXT, value=VALUE)
    secret = write.create(
        actor=actor, environment=place, name=ROTATED, secret_type=SecretType.TEXT, value="first"
    )
    if answers:
        targets.create(name="answers", interval_seconds=0, **rules, **answers)

    def unseen(target: Target, destination: dict[str, str], _credentials: object) -> Identity:
        target.endpoint, target.destination = hostile, destination
        target.system, target.place = f"vault/{uuid4()}//secret", "team"
        return Identity(system=target.system, place="team")

    targets._identify = unseen  # type: ignore[assignment]  # a system that does not answer cannot be made a target
    for index in range(number):
        destination = {"address": hostile, "namespace": "", "mount": "secret", "prefix": "team"}
        destination |= {"approle_mount": "approle"}
        targets.create(
            name=f"slow-{index}",
            interval_seconds=0,
            destination=destination,
            credentials={"token": "t"},
            **rules,
        )
    policies.create(
        actor=actor, secret=secret, rotator="generated", settings={}, credentials={}, interval_seconds=86_400
    )
    policies._apply_proven_connection = untried  # type: ignore[assignment]  # as above
    for index in range(rotations):
        user = f"user-{index}"
        value = json.dumps({"UserName": user, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "k"})
        policies.create(
            actor=actor,
            secret=write.create(
                actor=actor, environment=place, name=f"aws/{user}", secret_type=SecretType.TEXT, value=value
            ),
            rotator="aws_iam",
            settings={"user_name": user, "iam_endpoint": hostile, "sts_endpoint": hostile},
            credentials={"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "k"},
            interval_seconds=86_400,
        )
    raise_alert(kind="test", about=uuid4(), environment=None, subject="a message to a slow mail server")
    Target.objects.update(due_at=database_now())
    RotationPolicy.objects.update(due_at=database_now())


if __name__ == "__main__":
    django.setup()
    prepare(**json.loads(sys.argv[1]))
