"""Compares the two logins of a policy, and makes the idle one like the one that is served."""

import hashlib
import json
from dataclasses import dataclass, replace

from audit_app.events.actions import Action, Outcome
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal
from secrets_app.services.read import current_version_of
from sync_app.domain.rotation_state import Slot
from sync_app.errors import BackendError, RotationConflict, RotationInProgress
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import RotationPolicy
from sync_app.rotation.lookup import require_authentic, require_not_removed, require_policy_access
from sync_app.rotation.policies.approval import refuse_running
from sync_app.rotation.policies.credentials import open_policy
from sync_app.rotators.base import LoginDifference, Rotator

_CHANGED = "the logins have changed since they were compared: compare them again"


@dataclass(frozen=True, kw_only=True)
class LoginComparison:
    """In what the idle login differs, and the digest by which the same is asked for again."""

    login: str
    differences: tuple[LoginDifference, ...]
    not_compared: str

    @property
    def digest(self) -> str:
        """What was shown: the login, and each difference with its statement."""
        shown = [(item.what, item.sql, item.database, item.todo) for item in self.differences]
        return hashlib.sha256(json.dumps([self.login, shown]).encode()).hexdigest()

    @property
    def for_keeper(self) -> list[LoginDifference]:
        return [difference for difference in self.differences if difference.is_for_keeper]

    @property
    def for_people(self) -> list[LoginDifference]:
        return [difference for difference in self.differences if not difference.is_for_keeper]


def compare_logins(*, actor: Principal, policy: RotationPolicy) -> LoginComparison:
    """Compare both logins, and find out what Keeper's administrator may correct; nothing is changed.

    Raises Forbidden or Invisible, RotationConflict, Tampered, KeyUnavailable, EnvelopeError, BackendError.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_RUN, policy=policy)
    require_not_removed(policy)
    rotator, value = _open(actor, policy, purpose="compare logins")
    with limit_requests():
        return _compare(rotator, value)


def align_logins(*, actor: Principal, policy: RotationPolicy, expected: str) -> LoginComparison:
    """Make the idle login like the one that is served, by the statements of the comparison `expected`.

    It needs what changing the policy needs: in a protected environment the policy is suspended first, and
    resuming it asks for approval. Returns what still differs. Raises what `compare_logins` raises,
    RotationConflict if the logins differ otherwise by now, and RotationInProgress where the idle login is
    in use.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_CHANGE, policy=policy)
    number = policy.secret.current_number
    _require_idle(actor, policy, number)
    rotator, value = _open(actor, policy, purpose="make the logins alike")
    with limit_requests():
        comparison = _compare(rotator, value)
        if comparison.digest != expected:
            raise RotationConflict(_CHANGED)
        _record(
            actor, policy, {"login": comparison.login, "sql": [each.sql for each in comparison.for_keeper]}
        )
        try:
            done = rotator.align_logins(
                comparison.for_keeper, current=value, allowed=lambda: _require_idle(actor, policy, number)
            )
        except (BackendError, RotationConflict) as error:
            reason = type(error).__name__
            _record(actor, policy, {"login": comparison.login, "reason": reason}, outcome=Outcome.FAILED)
            raise
        refused = {each.what: each.refused for each in done if each.refused}
        outcome = Outcome.FAILED if refused else Outcome.ALLOWED
        _record(
            actor,
            policy,
            {"login": comparison.login, "ran": len(done), "refused": [*refused]},
            outcome=outcome,
        )
        again = _compare(rotator, value)
    differences = tuple(
        replace(difference, refused=refused.get(difference.what, difference.refused))
        for difference in again.differences
    )
    return replace(again, differences=differences)


def _require_idle(actor: Principal, policy: RotationPolicy, number: int) -> None:
    """Raise RotationInProgress or RotationConflict unless the idle login is in nobody's use.

    It is asked again under the lock on the server, without which no rotation changes a login.
    """
    stored = RotationPolicy.objects.select_related("environment", "secret__environment").get(pk=policy.pk)
    require_not_removed(stored)
    require_authentic(stored)
    refuse_running(actor, stored)
    if stored.secret.current_number != number or stored.settings != policy.settings:
        raise RotationConflict(_CHANGED)
    working = stored.rotations.filter(slot=Slot.WORKING).first()
    if working is not None and (working.stopped_at is None or working.promoted_at is not None):
        raise RotationInProgress(
            "a rotation is at work, and both logins are in use: wait until it has ended, or stopped before "
            "its new value was served"
        )


def _compare(rotator: Rotator, value: str) -> LoginComparison:
    differences = rotator.compare_logins(value)
    tried = rotator.align_logins(differences, current=value) if differences else ()
    return LoginComparison(
        login=rotator.idle_login(value), differences=tuple(tried), not_compared=rotator.not_compared
    )


def _open(actor: Principal, policy: RotationPolicy, *, purpose: str) -> tuple[Rotator, str]:
    version = current_version_of(policy.secret)
    opened = open_policy(actor=actor, policy=policy, versions=[version], details={"purpose": purpose})
    return opened.rotator, opened.values[version.number]


def _record(
    actor: Principal, policy: RotationPolicy, details: dict[str, Json], *, outcome: Outcome = Outcome.ALLOWED
) -> None:
    commit_record(
        actor=actor,
        action=Action.ROTATION_CHANGE,
        **stream_and_object(policy),
        outcome=outcome,
        details={"act": "make the logins alike", **details},
    )
