"""Puts a running Keeper among systems that never come to an end: `python -m tests.slow_systems` with JSON.

Makes a target that answers, many that do not, and a secret whose rotation is due, in `development`.
"""

import json
import sys
from typing import Any
from uuid import uuid4

import django

NAME, VALUE, ROTATED = "app/one", "kept-beside-slow-ones", "app/rotated"


def prepare(*, answers: dict[str, Any], hostile: str, number: int) -> None:
    """Make all of it, due at once."""
    from environments_app.models import Environment
    from secrets_app.secret_types.registry import SecretType
    from secrets_app.services import write
    from sync_app.jobs.leases import database_now
    from sync_app.models import RotationPolicy, Target
    from sync_app.rotation.policies import service as policies
    from sync_app.targets import service as targets
    from sync_app.targets.default_targets import _manager
    from sync_app.targets.destinations import Identity

    place = Environment.objects.get(name="development")
    actor = _manager(place)
    rules: dict[str, Any] = {"actor": actor, "environment": place, "backend": "vault_kv2", "automatic": True}
    write.create(actor=actor, environment=place, name=NAME, secret_type=SecretType.TEXT, value=VALUE)
    secret = write.create(
        actor=actor, environment=place, name=ROTATED, secret_type=SecretType.TEXT, value="first"
    )
    targets.create(name="answers", interval_seconds=0, **rules, **answers)

    def unseen(target: Target, destination: dict[str, str], _credentials: object) -> Identity:
        target.endpoint, target.destination = hostile, destination
        target.system, target.place = f"vault/{uuid4()}//secret", "team"
        return Identity(system=target.system, place="team")

    targets._identified = unseen  # type: ignore[assignment]  # a system that does not answer cannot be made a target
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
    Target.objects.update(due_at=database_now())
    RotationPolicy.objects.update(due_at=database_now())


if __name__ == "__main__":
    django.setup()
    prepare(**json.loads(sys.argv[1]))
