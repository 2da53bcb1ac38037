"""Tries a target, or the draft of one, without changing anything: what answers, and what is not allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from sync_app.backends.base import Backend
from sync_app.backends.permissions import Grant, Need, Permission
from sync_app.domain.reconciliation import Deletion, Direction
from sync_app.errors import BackendError, BadDestination, DestinationTaken, SyncError, TooManyTests
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import Target
from sync_app.targets.credentials import open_backend
from sync_app.targets.lookup import require_authentic_environment, require_target_access
from sync_app.targets.systems.destinations import backend_class, describe_overlap, expand_names, identify


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
