"""As whom and with what a target is used: the principal of a run, and the credentials.

Credentials are sealed for one endpoint, and opened after the record of it is committed. The principal is
the user who started the run, with present rights, or Keeper, within the scope. Keeper's own passes that find
the same again and again are recorded once an hour.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, Final, Self
from uuid import UUID

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from audit_app.recording.drafts import Receipt, stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import parsed_details
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import load_principal, system_principal
from environments_app.errors import Tampered
from environments_app.models import Role
from secrets_app.errors import SecretError
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from sync_app.backends.base import Backend
from sync_app.errors import NotTheActiveInstallation, TargetConflict
from sync_app.models import Run, Target
from sync_app.models.plan import PlanKind
from sync_app.targets.destinations import backend_class, require_same_system
from sync_app.targets.lookup import (
    report_tampering,
    require_authentic,
    require_not_removed,
    require_target_access,
)

# So often Keeper's own passes over a target that find the same as before are recorded.
REPEATED: Final = timedelta(hours=1)
# The receipts of Keeper's own openings, by target: the envelope that was opened, and when, by time.monotonic.
_OPENED: Final[dict[UUID, tuple[Receipt, bytes, float]]] = {}
# So many events about a target are looked at: two for each worker that passes over it in turn.
_LOOKED_AT: Final = 20


@contextmanager
def open_backend(*, actor: Principal, target: Target, any_system: bool = False) -> Iterator[Backend]:
    """Yield the target's backend, made with its credentials; call it outside a transaction.

    An event of the opening is committed first, for Keeper's own repeated passes once an hour. The system
    proves to be the target's, unless `any_system` is set, for callers that only need its name. Raises
    Forbidden or Invisible; TargetConflict if the target was removed, or NotTheActiveInstallation; Tampered
    if its row was changed outside Keeper, and an EnvelopeError if its credentials were; KeyUnavailable;
    SystemMismatch; another BackendError.
    """
    _require_may_connect(actor, target)
    destination, kind = dict(target.destination), backend_class(target.backend)
    if kind.endpoint(destination) != target.endpoint:
        report_tampering(target, "the endpoint is not that of the destination")
    backend = kind(destination=destination, credentials=_open_credentials(actor, target))
    with backend:
        if not any_system:
            require_same_system(target, backend)
        yield backend


class TargetSession:
    """One connection to a target for all parts of a run's attempt: plan, apply, pending versions.

    The first part that needs it opens the credentials, with one event, and has the system prove itself.
    Each part checks the rights of its actor and the target's row again. Close it with `with`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stack = ExitStack()
        self._backend: Backend | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._backend = None
        self._stack.close()

    def backend(self, actor: Principal) -> Backend:
        """Return the target's backend. Call it outside a transaction; raises as `open_backend`."""
        if self._backend is None:
            self._backend = self._stack.enter_context(open_backend(actor=actor, target=self._target))
        else:
            _require_may_connect(actor, self._target)
        return self._backend


def _require_may_connect(actor: Principal, target: Target) -> None:
    require_target_access(actor=actor, action=Action.TARGET_CONNECT, target=target)
    require_not_removed(target)
    require_authentic(target)
    if not is_active():
        raise NotTheActiveInstallation(
            "This installation is not active and does not sync secrets. To sync "
            "from here, stop the other one and run `keeper activate`."
        )


def seal_credentials(target: Target, credentials: Mapping[str, str]) -> None:
    """Put credentials on a target, sealed for its endpoint; what is empty is left out.

    Call it before the transaction in which the target is saved: it may ask KMS.
    """
    given = {name: text for name, text in credentials.items() if text}
    key = active_key(target.environment)
    target.data_key_id = key.id
    target.credentials = Sealed.of(json.dumps(given).encode(), data_key=key, context=target.sealing_context())


def _open_credentials(actor: Principal, target: Target) -> dict[str, str]:
    told: dict[str, Any] = {
        "actor": actor,
        "action": Action.TARGET_CONNECT,
        **stream_and_object(target),
    }
    receipt = _repeated_opening(target) if actor.kind is ActorKind.SYSTEM else None
    if receipt is None:
        receipt = commit_record(
            **told, details={"endpoint": target.endpoint}, covers=frozenset({target.uuid.bytes})
        )
        if actor.kind is ActorKind.SYSTEM:
            _OPENED[target.uuid] = receipt, target.credentials.envelope, time.monotonic()
    try:
        opened: dict[str, str] = json.loads(target.credentials.open(receipt))
    except SecretError as error:
        commit_record(**told, outcome=Outcome.FAILED, details={"reason": type(error).__name__})
        raise
    return opened


def _repeated_opening(target: Target) -> Receipt | None:
    """Return the receipt of this process's last opening, if Keeper's passes have found nothing since.

    Its event must still be stored. Every other event about the target ends it.
    """
    receipt, envelope, opened_at = _OPENED.get(target.uuid, (None, b"", 0.0))
    if (
        receipt is None
        or envelope != target.credentials.envelope
        or time.monotonic() - opened_at >= REPEATED.total_seconds()
    ):
        return None
    for event in _newest_events(target):
        if event.uuid == receipt.event_uuid:
            return receipt
        if not (_is_own(event, Action.TARGET_CONNECT) or is_empty_pass(event)):
            return None
    return None


def last_recorded(target: Target) -> AuditEvent | None:
    """Return the newest event about a target besides Keeper's openings of its credentials."""
    return next(
        (event for event in _newest_events(target) if not _is_own(event, Action.TARGET_CONNECT)), None
    )


def is_empty_pass(event: AuditEvent) -> bool:
    """Return whether an event records a pass of Keeper's own that had nothing to do."""
    return _is_own(event, Action.TARGET_PLAN) and parsed_details(event.details).get("empty") is True


def _newest_events(target: Target) -> Iterator[AuditEvent]:
    rows = AuditEvent.objects.filter(object_uuid=target.uuid).order_by("-id")
    yield from rows.only("uuid", "at", "actor_kind", "action", "outcome", "details")[:_LOOKED_AT]


def _is_own(event: AuditEvent, action: Action) -> bool:
    return (event.actor_kind, event.action, event.outcome) == (ActorKind.SYSTEM, action, Outcome.ALLOWED)


def require_usable(target: Target) -> None:
    """Refuse a target that was removed or whose row, or environment, Keeper did not write.

    Raises TargetConflict, also for one of a deleted environment, or Tampered, which is reported.
    """
    require_not_removed(target)
    if target.environment.deleted_at is not None:
        raise TargetConflict("the environment was deleted: nothing goes out of it")
    require_authentic(target)


def target_principal(target: Target, *, role: Role = Role.EDITOR) -> Principal:
    """Return Keeper itself, allowed what the target is for: editing the names in its scope.

    The target's own row is the grant, so that it must be genuine. Raises TargetConflict or Tampered.
    """
    require_usable(target)
    environment = target.environment
    grant = Grant(
        environment_id=environment.pk,
        environment_uuid=environment.uuid,
        environment_name=environment.name,
        role=role,
        prefix=str(target.scope),
    )
    return system_principal(grants=(grant,))


def load_run_principal(run: Run) -> Principal:
    """Return who a run works for, with what they may do by now. Raises TargetConflict or Tampered."""
    if not verified_rows([run]):
        raise Tampered("The run's record was changed outside Keeper; nothing is done.")
    if run.plan is not None:
        run.plan.target = run.target
        if not verified_rows([run.plan]):
            raise Tampered("The plan's record was changed outside Keeper; nothing is done: plan again.")
    require_usable(run.target)
    if run.actor.kind is not ActorKind.SYSTEM:
        return load_principal(run.actor)
    # Who adopts or takes leave from a shell on the host operates Keeper.
    manages = run.plan is not None and run.plan.kind != PlanKind.SYNC
    return target_principal(run.target, role=Role.MANAGER if manages else Role.EDITOR)
