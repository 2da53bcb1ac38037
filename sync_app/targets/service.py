"""Use cases of targets: creating, changing, pausing and removing them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from django.db import IntegrityError
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry, state_digest
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json
from environments_app.approvals.gate import unneeded_approval
from environments_app.authorization.policy import Principal, require
from environments_app.errors import NameInUse
from environments_app.models import Environment
from environments_app.sessions.service import lock_actor, lock_row
from sync_app.backends.capabilities import fill_initial
from sync_app.domain.reconciliation import Ownership
from sync_app.errors import (
    BackendError,
    BadDestination,
    DifferentSystem,
    SyncError,
    TargetConflict,
    TargetInUse,
)
from sync_app.jobs.leases import database_now
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import Target
from sync_app.targets.alerts import close_after_removal
from sync_app.targets.approval import refuse_unapproved_widening, refuse_unattended, require_change_approval
from sync_app.targets.credentials import seal_credentials
from sync_app.targets.destinations import (
    Identity,
    backend_class,
    expand_names,
    identify,
    refuse_overlap,
    system_id,
)
from sync_app.targets.lookup import (
    require_authentic,
    require_authentic_environment,
    require_not_removed,
    require_target_access,
)
from sync_app.targets.rules import CHANGEABLE, CHOSEN_ONCE, apply_rules, changed_backend_rules, clean_name

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
    Invisible; InvalidField or BadDestination; NameInUse; DestinationTaken; Conflict, or ApprovalVoid if the
    environment was protected meanwhile, for one that writes by itself; another BackendError, such as
    PermissionMissing, if the system cannot be reached or listed with these credentials.
    """
    target = Target(uuid=uuid4(), environment=environment, name=clean_name(name), backend=backend)
    destination = expand_names(backend, destination, environment)
    destination = fill_initial(backend_class(backend).destination_fields, destination)
    apply_rules(target, rules, allowed=(*CHANGEABLE, *CHOSEN_ONCE))
    require(actor=actor, action=Action.TARGET_CREATE, environment=environment)
    require_authentic_environment(environment)
    refuse_unattended(actor, target)
    unneeded = unneeded_approval(actor, environment) if target.automatic else None
    try:
        identity = _identify(target, destination, credentials)
    except BackendError as error:
        _record_failure(actor, Action.TARGET_CREATE, target, error)
        raise
    seal_credentials(target, credentials)
    _reschedule(target)
    try:
        # The system may have taken seconds to answer.
        with lock_actor(actor, Action.TARGET_CREATE, environment):
            if unneeded:
                unneeded.consume(environment, actor=actor)
            refuse_overlap(identity, actor=actor)
            target.save(force_insert=True)
            _record(actor, Action.TARGET_CREATE, target, _creation_details(target))
    except IntegrityError as error:
        raise NameInUse(_NAME_IN_USE) from error
    return target


def change(
    *,
    actor: Principal,
    target: Target,
    name: str | None = None,
    destination: Mapping[str, str] | None = None,
    **rules: Any,
) -> Target:
    """Change the name or rules of a target (CHANGEABLE) and return it as stored.

    `destination` holds those fields of the destination that are rules of the backend, such as the form of
    JSON objects. Raises BadDestination for any other; Forbidden or Invisible; InvalidField; NameInUse;
    Tampered; TargetConflict once it was removed; ApprovalNeeded if it would sync automatically, under other
    rules, in a protected environment.
    """
    require_target_access(actor=actor, action=Action.TARGET_CHANGE, target=target)
    chosen = changed_backend_rules(target, destination or {})
    asked = rules if name in {None, target.name} else {**rules, "name": name}
    asked = {**asked, "destination": chosen} if chosen else asked
    approval = require_change_approval(actor, target, asked)
    try:
        with _lock_target(actor, Action.TARGET_CHANGE, target) as stored:
            if approval is None:
                refuse_unapproved_widening(actor, stored, asked)
            approved = (
                approval.consume(stored.environment, actor=actor, state=state_digest(stored))
                if approval
                else {}
            )
            changed = apply_rules(stored, rules, allowed=CHANGEABLE)
            if name is not None and name != stored.name:
                stored.name = clean_name(name)
                changed.append("name")
            if chosen := changed_backend_rules(stored, chosen):
                stored.destination = {**stored.destination, **chosen}
                changed.append("destination")
            if changed:
                _reschedule(stored)
                stored.save(update_fields=[*changed, "due_at", "updated_at"])
                new_values = {field: getattr(stored, field) for field in changed}
                _record(actor, Action.TARGET_CHANGE, stored, new_values | approved)
    except IntegrityError as error:
        raise NameInUse(_NAME_IN_USE) from error
    return stored


def change_credentials(
    *,
    actor: Principal,
    target: Target,
    credentials: Mapping[str, str],
    destination: Mapping[str, str] | None = None,
) -> Target:
    """Replace the credentials of a target, all of them, and return it as stored.

    `destination` holds the fields of the destination that change as well, such as an address: what
    decides where values and credentials go is only changed with the credentials in hand, and
    only if the system proves to be the same as before. The old envelope opens no more.

    Raises what `create` raises, DifferentSystem, Tampered, and TargetConflict once it was removed, or if
    it leads elsewhere by now.
    """
    require_target_access(actor=actor, action=Action.TARGET_CHANGE, target=target)
    require_not_removed(target)
    require_authentic(target)
    if destination:
        refuse_unattended(actor, target)
    wanted = _merge_destination(target, destination or {})
    draft = Target(uuid=target.uuid, environment=target.environment, name=target.name, backend=target.backend)
    try:
        _identify(draft, wanted, credentials)
        _require_same_place(draft, target)
    except (BackendError, DifferentSystem) as error:
        _record_failure(actor, Action.TARGET_CHANGE, target, error)
        raise
    seal_credentials(draft, credentials)
    with _lock_target(actor, Action.TARGET_CHANGE, target) as stored:
        # The system was asked about the target as it was read.
        if (stored.system, stored.destination) != (target.system, target.destination):
            raise TargetConflict("the target changed in the meantime: reload the page")
        if destination:
            refuse_unattended(actor, stored)
        fields = ("destination", "endpoint", "credentials", "data_key_id")
        for field in fields:
            setattr(stored, field, getattr(draft, field))
        # What failed by the old ones is tried again at once.
        stored.failures = 0
        stored.save(update_fields=[*fields, "failures", "updated_at"])
        details: dict[str, Json] = {"fields": ["credentials", *(destination or {})]}
        _record(actor, Action.TARGET_CHANGE, stored, details | {"endpoint": stored.endpoint})
    return stored


def pause(*, actor: Principal, target: Target) -> Target:
    """Let nothing be synced with a target until it is resumed; return it as stored.

    Raises Forbidden or Invisible, Tampered, and TargetConflict once it was removed.
    """
    return _pause(actor, target, paused=True)


def resume(*, actor: Principal, target: Target) -> Target:
    """Let a paused target be synced again; raises as `pause` does."""
    return _pause(actor, target, paused=False)


def remove(*, actor: Principal, target: Target) -> None:
    """Remove a target that has nothing of Keeper's in the other system, and forget its credentials.

    One whose row was changed outside Keeper is removed whatever it has there, since it can do
    nothing about it any more. Raises Forbidden or Invisible; TargetInUse if it was not
    disconnected before, or a run is under way.
    """
    require_target_access(actor=actor, action=Action.TARGET_REMOVE, target=target)
    require_not_removed(target)
    seal_credentials(target, {})
    with lock_actor(actor, Action.TARGET_REMOVE, target.environment, name=target.scope):
        stored = Target.objects.select_for_update().get(pk=target.pk)
        forged = not stored.is_authentic()
        if not forged:
            _require_unused(stored)
        entries = stored.entries.count()
        stored.entries.all().delete()
        stored.credentials, stored.data_key_id = target.credentials, target.data_key_id
        stored.live, stored.due_at = None, None
        stored.save(update_fields=["live", "due_at", "credentials", "data_key_id", "updated_at"])
        _record(actor, Action.TARGET_REMOVE, stored, {"entries": entries, "forged": forged})
        close_after_removal(stored)
    if forged:
        verified_rows([target])


@contextmanager
def _lock_target(actor: Principal, action: Action, target: Target) -> Iterator[Target]:
    require_authentic_environment(target.environment)
    with lock_row(actor, target, action, target.environment, name=target.scope) as stored:
        require_not_removed(stored)
        yield stored


def _pause(actor: Principal, target: Target, *, paused: bool) -> Target:
    require_target_access(actor=actor, action=Action.TARGET_PAUSE, target=target)
    with _lock_target(actor, Action.TARGET_PAUSE, target) as stored:
        if (stored.paused_at is not None) is not paused:
            stored.paused_at = timezone.now() if paused else None
            _reschedule(stored)
            stored.save(update_fields=["paused_at", "due_at", "updated_at"])
            _record(actor, Action.TARGET_PAUSE, stored, {"paused": paused})
    return stored


def _require_unused(target: Target) -> None:
    if target.runs.filter(active=True).exists():
        raise TargetInUse("a sync of this target is running: wait for it to finish")
    owned = target.entries.exclude(ownership=Ownership.NONE).count()
    if owned:
        raise TargetInUse(
            f"{owned} secrets in the target are marked as Keeper's: disconnect it first, by a plan that "
            "leaves or withdraws them"
        )


def _reschedule(target: Target) -> None:
    """Schedule the next automatic pass at once, so that it delivers what changed in the meantime."""
    waits = target.paused_at is not None or not (target.interval_seconds or target.automatic)
    target.due_at = None if waits else database_now()


def _merge_destination(target: Target, changes: Mapping[str, str]) -> dict[str, str]:
    """Return a destination with some fields changed, none of which locates the secrets."""
    for field in backend_class(target.backend).destination_fields:
        # A row that is older than the field has the default.
        now = target.destination.get(field.name, field.default)
        if field.fixed and changes.get(field.name, now) != now:
            raise BadDestination(
                f"{field.label}: the destination can't be changed; create another target", field=field.name
            )
    return {**target.destination, **changes}


def _require_same_place(draft: Target, target: Target) -> None:
    if (draft.system, draft.place) != (system_id(target), target.place):
        raise DifferentSystem(
            f"these credentials and addresses lead to {draft.system}, and the target is "
            f"in {target.system}: make another target"
        )


def _identify(target: Target, destination: Mapping[str, str], credentials: Mapping[str, str]) -> Identity:
    """Set a target's identity, as the system itself reports it."""
    kind = backend_class(target.backend)
    target.endpoint = kind.endpoint(destination)
    with limit_requests(), kind(destination=destination, credentials=credentials) as backend:
        identity = identify(backend)
        backend.check_connection()
        target.destination = backend.destination
    target.system, target.place = identity.system, identity.place
    return identity


def _creation_details(target: Target) -> dict[str, Json]:
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
        **stream_and_object(target),
        details={**details, **row_digest_entry(target)},
    )


def _record_failure(actor: Principal, action: Action, target: Target, error: SyncError) -> None:
    commit_record(
        actor=actor,
        action=action,
        **stream_and_object(target),
        outcome=Outcome.FAILED,
        details={"backend": target.backend, "reason": type(error).__name__},
    )
