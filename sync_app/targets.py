"""Use cases of targets: creating, changing, pausing and removing them."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.actions import Action, Outcome
from audit_app.canonical import Json
from audit_app.record import commit_record, record
from audit_app.row_history import row_state
from audit_app.streams import environment_stream
from environments_app.errors import NameInUse
from environments_app.models import Environment
from environments_app.policy import Principal, require
from sync_app.credentials import seal
from sync_app.destinations import Identity, backend_of, identify, refuse_overlap
from sync_app.errors import BackendError
from sync_app.finding import require_authentic_place
from sync_app.models import Target
from sync_app.target_rules import CHANGEABLE, CHOSEN_ONCE, apply_rules, checked_name

_NAME_IN_USE: Final = "The environment has a target of this name."


def create(
    *,
    actor: Principal,
    environment: Environment,
    name: str,
    backend: str,
    destination: Mapping[str, str],
    credentials: Mapping[str, str],
    **rules: Any,
) -> Target:
    """Create a target, after asking the other system which one it is and listing the destination.

    `rules` are those of target_rules. Nothing is written to the other system. Raises Forbidden or
    Invisible; InvalidField or BadDestination; NameInUse; DestinationTaken; another BackendError, such
    as PermissionMissing, if the system cannot be reached or listed with these credentials.
    """
    target = Target(uuid=uuid4(), environment=environment, name=checked_name(name), backend=backend)
    apply_rules(target, rules, allowed=(*CHANGEABLE, *CHOSEN_ONCE))
    require(actor=actor, action=Action.TARGET_CREATE, environment=environment)
    require_authentic_place(environment)
    try:
        identity = _identified(target, destination, credentials)
    except BackendError as error:
        _record_failure(actor, Action.TARGET_CREATE, target, error)
        raise
    seal(target, credentials)
    if target.interval_seconds:
        target.due_at = timezone.now()
    try:
        with transaction.atomic():
            refuse_overlap(identity, actor=actor)
            target.save(force_insert=True)
            _record(actor, Action.TARGET_CREATE, target, _described(target))
    except IntegrityError as error:
        raise NameInUse(_NAME_IN_USE) from error
    return target


def _identified(target: Target, destination: Mapping[str, str], credentials: Mapping[str, str]) -> Identity:
    """Set where a target is, as the system itself says."""
    kind = backend_of(target.backend)
    target.endpoint = kind.endpoint(destination)
    with kind(destination=destination, credentials=credentials) as backend:
        identity = identify(backend)
        backend.check()
        target.destination = backend.destination
    target.system, target.place = identity.system, identity.place
    return identity


def _described(target: Target) -> dict[str, Json]:
    """Return what the event of a new target says of it."""
    told: dict[str, Json] = {name: getattr(target, name) for name in (*CHANGEABLE, *CHOSEN_ONCE)}
    return told | {
        "backend": target.backend,
        "destination": dict(target.destination),
        "endpoint": target.endpoint,
        "system": target.system,
    }


def _record(actor: Principal, action: Action, target: Target, details: Mapping[str, Json]) -> None:
    record(
        actor=actor,
        action=action,
        stream=environment_stream(target.environment.uuid),
        object=target.audit_object,
        details={**details, **row_state(target)},
    )


def _record_failure(actor: Principal, action: Action, target: Target, error: BackendError) -> None:
    commit_record(
        actor=actor,
        action=action,
        stream=environment_stream(target.environment.uuid),
        object=target.audit_object,
        outcome=Outcome.FAILED,
        details={"backend": target.backend, "reason": type(error).__name__},
    )
