"""The targets that environment variables describe, so that a first run has something to sync with.

VAULT_URL and VAULT_TOKEN make the target `vault`, AWS_REGION with a lasting access key the target
`aws`. They push, by hand only, below a prefix of Keeper's own, and belong to their managers from
then on: the variables are not looked at again unless the command is given.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings

from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import Environment, Role
from secrets_app.errors import SecretError
from sync_app.domain.reconciliation import Conflict, Direction
from sync_app.errors import SyncError
from sync_app.models import Target
from sync_app.targets import service as targets

AGAIN: Final = "Correct it and run `keeper sync default-targets`, or make the target on the page Sync."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DefaultTarget:
    """A target that the environment variables describe."""

    name: str
    backend: str
    destination: dict[str, str]
    credentials: dict[str, str] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What became of a default target: made now, there before, or not made for the reason given."""

    name: str
    environment: str
    created: bool = False
    problem: str = ""


def read_configured() -> Iterator[DefaultTarget]:
    """Yield the targets for which everything is set; none if no environment is named for them.

    An access key with a session token is left out: it would end within hours.
    """
    environment = settings.KEEPER_DEFAULT_TARGET_ENVIRONMENT
    if not environment:
        return
    # Leaves room for targets of other environments, and lists no other secrets.
    prefix = f"keeper/{environment}"
    if settings.VAULT_URL and settings.VAULT_TOKEN:
        yield DefaultTarget(
            name="vault",
            backend="vault_kv2",
            destination={
                "address": settings.VAULT_URL,
                "mount": settings.VAULT_MOUNT_POINT,
                "prefix": prefix,
            },
            credentials={"token": settings.VAULT_TOKEN},
        )
    lasting = settings.AWS_ACCESS_KEY_ID and settings.AWS_SECRET_ACCESS_KEY and not settings.AWS_SESSION_TOKEN
    if settings.AWS_REGION and lasting:
        yield DefaultTarget(
            name="aws",
            backend="aws_secrets_manager",
            destination={
                "region": settings.AWS_REGION,
                "prefix": prefix,
                "endpoint": settings.AWS_ENDPOINT_URL_SECRETS_MANAGER,
                "sts_endpoint": settings.AWS_ENDPOINT_URL_STS,
            },
            credentials={
                "access_key_id": settings.AWS_ACCESS_KEY_ID,
                "secret_access_key": settings.AWS_SECRET_ACCESS_KEY,
            },
        )


def create_missing() -> list[Attempt]:
    """Make the described targets that do not exist; one that cannot be made is logged with what to do."""
    attempts = [_create_default(default) for default in read_configured()]
    for attempt in attempts:
        if attempt.problem:
            _log.warning(
                "default target %s of %s was not made: %s. %s",
                attempt.name,
                attempt.environment,
                attempt.problem,
                AGAIN,
            )
    return attempts


def _create_default(default: DefaultTarget) -> Attempt:
    name = settings.KEEPER_DEFAULT_TARGET_ENVIRONMENT
    environment = Environment.objects.filter(name=name).first()
    if environment is None:
        problem = "there is no such environment (KEEPER_DEFAULT_TARGET_ENVIRONMENT)"
        return Attempt(name=default.name, environment=name, problem=problem)
    if Target.objects.filter(environment=environment, name=default.name, live=True).exists():
        return Attempt(name=default.name, environment=name)
    try:
        targets.create(
            actor=_system_actor(environment),
            environment=environment,
            name=default.name,
            backend=default.backend,
            destination=default.destination,
            credentials=default.credentials,
            direction=Direction.PUSH,
            conflict=Conflict.ASK,
            automatic=False,
            interval_seconds=0,
        )
    except (SyncError, AccessError, SecretError) as error:
        return Attempt(name=default.name, environment=name, problem=str(error).rstrip("."))
    return Attempt(name=default.name, environment=name, created=True)


def _system_actor(environment: Environment) -> Principal:
    """Return Keeper itself: the user who sets its variables and starts it operates it."""
    return system_principal(
        grants=(
            Grant(
                environment_id=environment.pk,
                environment_uuid=environment.uuid,
                environment_name=environment.name,
                role=Role.MANAGER,
                prefix="",
            ),
        )
    )
