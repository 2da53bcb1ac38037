"""Confirms a rebuilt system: another system answers at a target's address, and replaces the old one."""

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from environments_app.authorization.locked_row import lock_authentic
from environments_app.authorization.policy import Principal
from sync_app.errors import DifferentSystem, TargetConflict, TargetInUse
from sync_app.jobs.leases import database_now
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import Target
from sync_app.targets.approval import require_confirm_approval
from sync_app.targets.credentials import open_backend
from sync_app.targets.lookup import require_not_removed, require_target_access
from sync_app.targets.systems.destinations import Identity, identify, refuse_overlap, system_id


def identify_answering_system(*, actor: Principal, target: Target) -> Identity:
    """Ask which system answers at a target's address; nothing else is asked of it.

    Raises Forbidden or Invisible, TargetConflict if it is the target's own, DifferentSystem if it keeps the
    secrets at another place, Tampered, KeyUnavailable, another BackendError, TooManyTests.
    """
    require_target_access(actor=actor, action=Action.TARGET_CHANGE, target=target)
    with limit_requests(), open_backend(actor=actor, target=target, any_system=True) as backend:
        found = identify(backend)
    if found.place != target.place:
        raise DifferentSystem(f"the secrets lie at {found.place} there, and the target's at {target.place}")
    if found.system == system_id(target):
        raise TargetConflict("the expected system answered: there is nothing to confirm")
    return found


def confirm_system(*, actor: Principal, target: Target, system: str) -> Target:
    """Have a target be in the system that answers by now, if it is the one that was shown; return it stored.

    It no longer syncs automatically: a user must check a plan first. The entries are kept, but prove
    nothing there unless the secrets and their marks were restored as well. Raises what
    `identify_answering_system` raises, ApprovalNeeded in a protected environment, DestinationTaken,
    TargetInUse while a run is under way.
    """
    found = identify_answering_system(actor=actor, target=target)
    if found.system != system:
        raise TargetConflict(f"another system answers now, {found.system}: check again")
    clearance = require_confirm_approval(actor, target, system)
    with lock_authentic(target) as stored:
        require_not_removed(stored)
        if stored.system != target.system:
            raise TargetConflict("the target changed in the meantime: reload the page")
        if stored.runs.filter(active=True).exists():
            raise TargetInUse("a sync of this target is running: wait for it to finish")
        approved = clearance.spend(stored.environment, actor=actor)
        refuse_overlap(found, actor=actor)
        details: dict[str, Json] = {"system": system, "before": stored.system, "automatic": False}
        stored.system, stored.automatic, stored.failures = system, False, 0
        stored.due_at = database_now() if stored.interval_seconds and stored.paused_at is None else None
        stored.save(update_fields=["system", "automatic", "failures", "due_at", "updated_at"])
        record(
            actor=actor,
            action=Action.TARGET_CHANGE,
            **stream_and_object(stored),
            details={**details, **approved, **row_digest_entry(stored)},
        )
    return stored
