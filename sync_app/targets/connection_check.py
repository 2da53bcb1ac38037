"""Tries a target, or the draft of one, and confirms a system that was rebuilt.

A try changes nothing: it reports what answers, and what is not allowed. A rebuilt system is another one
that answers at a target's address, and replaces the old one once confirmed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry, state_digest
from audit_app.recording.drafts import AuditObject, stream_and_object
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from environments_app.sessions.service import lock_row
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant, Need, Permission
from sync_app.domain.reconciliation import Deletion, Direction
from sync_app.errors import (
    BackendError,
    BadDestination,
    DestinationTaken,
    DifferentSystem,
    SyncError,
    TargetConflict,
    TargetInUse,
    TooManyTests,
)
from sync_app.jobs.leases import database_now
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import Target
from sync_app.targets.approval import require_confirm_approval
from sync_app.targets.credentials import open_backend
from sync_app.targets.destinations import (
    Identity,
    backend_class,
    describe_overlap,
    expand_names,
    identify,
    refuse_overlap,
    system_id,
)
from sync_app.targets.lookup import require_authentic_environment, require_not_removed, require_target_access


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a target answered.

    `problem` is the message of a failed test, `system` the other side's description of itself.
    `missing` are the permissions that the target's rules need and that it lacks.
    """

    system: str = ""
    place: str = ""
    problem: str = ""
    permissions: list[Permission] = field(default_factory=list)
    needs: frozenset[Need] = frozenset(Need)

    @property
    def missing(self) -> list[Permission]:
        """The permissions that the target's rules need."""
        return [each for each in self.permissions if each.grant is Grant.MISSING and each.need in self.needs]

    @property
    def unproven(self) -> list[Permission]:
        """The permissions that could not be asked for without changing something."""
        return [each for each in self.permissions if each.grant is Grant.UNPROVEN and each.need in self.needs]

    @property
    def lines(self) -> list[str]:
        found = [self.problem] if self.problem else []
        if self.system:
            found.append(f"{self.system} answered, at {self.place or 'its root'}.")
        found += [f"Missing permission: {each.name}." for each in self.missing]
        return found + [f"Not provable without a change: {each.name}." for each in self.unproven]

    @property
    def ok(self) -> bool:
        return not self.problem and not self.missing


def test(*, actor: Principal, target: Target) -> Report:
    """Try a target. What it answers is in the report; the test itself is recorded.

    Raises Forbidden or Invisible, TargetConflict, Tampered, an EnvelopeError, KeyUnavailable, TooManyTests.
    """
    require_target_access(actor=actor, action=Action.TARGET_TEST, target=target)
    needs = _required_permissions(target.direction, target.deletion)
    try:
        with limit_requests(), open_backend(actor=actor, target=target) as backend:
            report = _run_test(backend, needs)
    except BackendError as error:
        report = Report(problem=str(error), needs=needs)
    _record(actor, target.environment, target.audit_object, report)
    return report


def test_draft(
    *,
    actor: Principal,
    environment: Environment,
    backend: str,
    destination: Mapping[str, str],
    credentials: Mapping[str, str],
    direction: str,
    deletion: str,
) -> Report:
    """Try a target that is not stored, before it is; also whether its destination is free.

    Raises BadDestination for a field that is wrong, Forbidden or Invisible, Tampered, TooManyTests.
    """
    require(actor=actor, action=Action.TARGET_TEST, environment=environment)
    require_authentic_environment(environment)
    needs = _required_permissions(direction, deletion)
    destination = expand_names(backend, destination, environment)
    try:
        with (
            limit_requests(),
            backend_class(backend)(destination=destination, credentials=credentials) as made,
        ):
            report = _run_test(made, needs, actor=actor)
    except (BadDestination, TooManyTests):
        raise
    except SyncError as error:
        report = Report(problem=str(error), needs=needs)
    _record(actor, environment, AuditObject("target", uuid4(), ""), report)
    return report


def _run_test(backend: Backend, needs: frozenset[Need], *, actor: Principal | None = None) -> Report:
    identity = identify(backend)
    if actor is not None and (taken := describe_overlap(identity, actor=actor)):
        raise DestinationTaken(taken)
    backend.check_connection()
    return Report(
        system=identity.system,
        place=backend.path_prefix,
        permissions=list(backend.probe_permissions()),
        needs=needs,
    )


def _required_permissions(direction: str, deletion: str) -> frozenset[Need]:
    needs = {Need.READ}
    if direction != Direction.PULL:
        needs.add(Need.WRITE)
        if deletion == Deletion.RECOVERABLE:
            needs.add(Need.DELETE)
    return frozenset(needs)


def _record(actor: Principal, environment: Environment, tested: AuditObject, report: Report) -> None:
    details: dict[str, Json] = {"missing": [each.name for each in report.missing]}
    commit_record(
        actor=actor,
        action=Action.TARGET_TEST,
        stream=environment_stream(environment.uuid),
        object=tested,
        outcome=Outcome.ALLOWED if report.ok else Outcome.FAILED,
        details=details | {"system": report.system, "problem": report.problem},
    )


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
    approval = require_confirm_approval(actor, target, system)
    with lock_row(actor, target, Action.TARGET_CHANGE, target.environment, name=target.scope) as stored:
        require_not_removed(stored)
        if stored.system != target.system:
            raise TargetConflict("the target changed in the meantime: reload the page")
        if stored.runs.filter(active=True).exists():
            raise TargetInUse("a sync of this target is running: wait for it to finish")
        approved = approval.consume(stored.environment, actor=actor, state=state_digest(stored))
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
