"""The steps of a rotation: what is done at each, so that any worker can continue where another stopped.

Each step finds its intent committed, does its act outside any transaction, and commits the next
intent. Nothing is assumed of an act whose answer was lost: a login with the value decides.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.models import Environment
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import require_not_deleted as require_living_secret
from secrets_app.services import version_stages
from secrets_app.services.read import version_of
from secrets_app.types.registry import SecretType, inspect
from sync_app.domain.rotation_state import ENDED, Step
from sync_app.errors import BackendError, CurrentVersionChanged, LeaseLost, LoginsDiffer
from sync_app.jobs.leases import database_now, raise_if_shutdown_requested
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution.consumers import explain_lag, find_unacknowledged, readers_settle_at
from sync_app.rotation.execution.session import RotationSession
from sync_app.rotation.lookup import find_orphaned_login, require_policy_access
from sync_app.rotators.base import LoginAnswer, LoginDifference, PendingCredential, Rotator

_LOOK_AGAIN: Final = timedelta(minutes=1)
# With a larger clock difference the elapsed grace period is unknown.
_CLOCKS_APART: Final = timedelta(minutes=5)
_SERVED: Final = "the value that is served as current"
_NEW: Final = "the new value"
# Of 500 characters, what the differences of two logins may take.
_SENTENCE: Final = 190
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StepWait:
    """Why a rotation waits, without having failed, and until when; None: until its grace ends."""

    why: str
    until: datetime | None = None


def run_steps(session: RotationSession) -> StepWait | None:
    """Go from step to step until the rotation has ended, or has to wait.

    Raises LeaseLost; ShutdownRequested between two steps; a BackendError, whose `permanent` decides
    whether to stop; AccessError, SecretError.
    """
    while (step := Step(session.rotation.step)) not in ENDED:
        if not Environment.objects.filter(pk=session.policy.environment_id).exists():
            return StepWait(why="the environment was deleted", until=database_now() + _LOOK_AGAIN)
        pause = _STEPS[step](session)
        if pause is not None:
            return pause
        # Before the next step is begun: what an attempt may have done already, the next worker has to know.
        raise_if_shutdown_requested()
    return None


def _prepare(session: RotationSession) -> StepWait | None:
    """Write down what will be set; nothing outside is changed before that is committed."""
    actor, secret = session.actor, session.secret
    require_policy_access(actor=actor, action=Action.ROTATION_RUN, policy=session.policy)
    require_living_secret(secret)
    if not session.rotation.is_urgent and (wait := _wait_for_targets(secret)):
        return wait
    current = version_of(secret, secret.current_number)
    session.open(current)
    left = find_orphaned_login(session.policy)
    if left is not None and not session.rotator.overwrites_idle:
        _revoke_orphaned(session, left)
    session.lease.renew()
    session.rotator.check_setup(session.value(current.number))
    session.require_login(current.number, what=_SERVED)
    pending = session.rotator.prepare(session.value(current.number))
    version = None
    if pending.value is not None:
        version = version_stages.prepare(actor=actor, secret=secret, value=pending.value, comment="rotated")
    with _record_advance(
        session,
        Step.SET,
        from_number=current.number,
        to_number=version.number if version else None,
        login=pending.login,
        keys_before=list(pending.before),
        started_at=database_now(),
    ) as details:
        if left is not None:
            # Ended by now, or overwritten by the act that is committed here.
            if secret.previous_number is not None and secret.previous_number == left.left_number:
                version_stages.drop_previous(actor=actor, secret=secret, details=details)
            left.leaves = ""
            left.save(update_fields=["leaves"])
        if version is not None:
            version_stages.stage(actor=actor, secret=secret, version=version, details=details)
    return None


def _set(session: RotationSession) -> StepWait | None:
    """Give the idle login the pending value; an earlier attempt may have done it.

    Where the served value does not log in, the login that was idle may be the one in use: a backup was
    restored, or both were changed.
    """
    actor, secret, rotator = session.actor, session.secret, _open_served(session)
    pending = _load_pending(session)
    session.lease.renew()
    if session.rotation.attempts > 1 and pending.value is not None and rotator.supports_probe:
        probed = rotator.probe(pending.value)
        if probed.answer is LoginAnswer.ACCEPTED:
            return _advance_to_test(session)
        session.lease.renew()
    session.require_login(secret.current_number, what=_SERVED)
    current = session.value(secret.current_number)
    try:
        value = rotator.set(pending, current=current, fence=session.lease.create_fence())
    except BackendError as error:
        if error.made_nothing and pending.value is None:
            # What appears there from now on is somebody else's.
            _advance(session, Step.PREPARE)
        raise
    if pending.value is not None:
        return _advance_to_test(session)
    version = version_stages.prepare(actor=actor, secret=secret, value=value, comment="rotated")
    try:
        with _record_advance(session, Step.TEST, to_number=version.number) as details:
            version_stages.stage(actor=actor, secret=secret, version=version, details=details)
    except LeaseLost:
        # Abandoned while the value was created: the worker that revoked it may have read too early.
        try:
            session.rotator.discard(value)
        except BackendError as error:
            logger.warning("what rotation %s made is left where it is: %s", session.rotation.uuid, error)
        raise
    return None


def _test(session: RotationSession) -> StepWait | None:
    rotator, number = _open_served(session), _pending_number(session)
    session.lease.renew()
    session.require_login(number, what=_NEW)
    session.require_replicas(number, what=_NEW)
    session.lease.renew()
    differences = rotator.compare_logins(session.value(session.secret.current_number))
    if differences:
        raise LoginsDiffer(explain_differences(str(session.rotation.login), differences))
    _advance(session, Step.PROMOTE)
    return None


def _promote(session: RotationSession) -> StepWait | None:
    """Serve the new value, if it still logs in; the previous one keeps working."""
    policy, secret = session.policy, session.secret
    _open_served(session)
    number = _pending_number(session)
    session.lease.renew()
    session.require_login(number, what=_NEW)
    session.require_replicas(number, what=_NEW)
    now = database_now()
    grace = timedelta() if session.rotation.is_urgent else timedelta(seconds=policy.grace_seconds)
    facts = inspect(SecretType(secret.secret_type), session.value(number))
    with _record_advance(session, Step.GRACE, promoted_at=now, grace_until=now + grace) as details:
        version_stages.promote(actor=session.actor, secret=secret, facts=facts, details=details)
        RotationPolicy.objects.filter(pk=policy.pk).update(last_rotated_at=now)
    return None


def _grace(session: RotationSession) -> StepWait | None:
    """Let the previous value work until its time is over and no known consumer uses it."""
    rotation, policy = session.rotation, session.policy
    now = database_now()
    if rotation.grace_until is not None and now < rotation.grace_until and not rotation.cut:
        return StepWait(why="")
    if not rotation.is_urgent:
        if abs(timezone.now() - now) > _CLOCKS_APART:
            return _wait_a_minute("the clocks of the database and of this machine differ: set them right")
        if wait := _wait_for_targets(policy.secret):
            return wait
        if policy.waits_for_consumers and (slow := find_unacknowledged(policy.secret)):
            names = sorted({each.consumer_name for each in slow})
            return _wait_a_minute(f"waits for {', '.join(names[:5])} to confirm the current version")
    _advance(session, Step.RETIRE)
    return None


def _retire(session: RotationSession) -> StepWait | None:
    """Make the previous value useless, after the served one was seen to log in."""
    rotation, secret = session.rotation, session.secret
    if rotation.retiring_number is None:
        raise CurrentVersionChanged("no earlier version was written down: abandon the rotation")
    old = version_of(secret, rotation.retiring_number)
    rotator = _open_served(session, old)
    session.lease.renew()
    known_after = timedelta(seconds=rotator.propagation_seconds)
    is_known = rotation.promoted_at is not None and database_now() - rotation.promoted_at > known_after
    session.require_login(secret.current_number, what=_SERVED, is_known=is_known)
    current = session.value(secret.current_number)
    rotator.retire(session.value(old.number), current=current, fence=session.lease.create_fence())
    step = Step.ROLLED_BACK if rotation.reverted else Step.DONE
    with _record_advance(session, step) as details:
        version_stages.drop_previous(actor=session.actor, secret=secret, details=details)
    return None


def _revoke_unserved(session: RotationSession) -> StepWait | None:
    """Make a value useless that was never served, unless its login may be the one in use (`_set`)."""
    rotation, secret = session.rotation, session.secret
    # By its number: after it was given up once it is pending no more.
    written = [version_of(secret, rotation.to_number)] if rotation.to_number is not None else []
    rotator = _open_served(session, *written)
    session.lease.renew()
    session.require_login(secret.current_number, what=_SERVED)
    current = session.value(secret.current_number)
    rotator.revoke_unserved(_load_pending(session), current=current, fence=session.lease.create_fence())
    with _record_advance(session, Step.ABANDONED) as details:
        if secret.pending_number is not None and secret.pending_number == rotation.to_number:
            version_stages.clear_pending(actor=session.actor, secret=secret, details=details)
    return None


def _revoke_orphaned(session: RotationSession, left: Rotation) -> None:
    """Revoke the login that an abandoned rotation left, where the next secret would exist beside it."""
    secret = session.secret
    if secret.current_number != left.serving_number:
        # The value was changed since: `check_setup` judges what exists beside it.
        return
    number = left.left_number
    session.open(
        version_of(secret, secret.current_number), *([] if number is None else [version_of(secret, number)])
    )
    session.require_login(secret.current_number, what=_SERVED)
    pending = PendingCredential(
        login=str(left.login),
        value=None if number is None else session.value(number),
        before=tuple(left.keys_before),
    )
    current = session.value(secret.current_number)
    session.rotator.revoke_unserved(pending, current=current, fence=session.lease.create_fence())


_STEPS: Final[Mapping[Step, Callable[[RotationSession], StepWait | None]]] = {
    Step.PREPARE: _prepare,
    Step.SET: _set,
    Step.TEST: _test,
    Step.PROMOTE: _promote,
    Step.GRACE: _grace,
    Step.RETIRE: _retire,
    Step.WITHDRAW: _revoke_unserved,
}


# --- How --------------------------------------------------------------------------------------


def _open_served(session: RotationSession, *more: SecretVersion) -> Rotator:
    """Open the value that is served as current, the pending one, and `more`; return the rotator.

    Raises CurrentVersionChanged if the rotation does not know the version that is served: nothing that
    it might need is touched then.
    """
    rotation, secret = session.rotation, session.secret
    # As it is now: steps before may have changed it.
    secret.refresh_from_db()
    if secret.current_number != rotation.serving_number:
        raise CurrentVersionChanged(
            f"version {secret.current_number} is served, and this rotation knows of "
            f"{rotation.serving_number}: abandon it"
        )
    versions = {version.number: version for version in (version_of(secret, secret.current_number), *more)}
    if rotation.to_number is not None and rotation.to_number == secret.pending_number:
        versions.setdefault(rotation.to_number, version_of(secret, rotation.to_number))
    session.open(*versions.values())
    return session.rotator


def _load_pending(session: RotationSession) -> PendingCredential:
    rotation = session.rotation
    value = None if rotation.to_number is None else session.value(_pending_number(session))
    return PendingCredential(login=str(rotation.login), value=value, before=tuple(rotation.keys_before))


def _pending_number(session: RotationSession) -> int:
    number = session.rotation.to_number
    if number is None:
        raise CurrentVersionChanged("no pending version was written down: abandon the rotation")
    if number not in session.numbers:
        raise CurrentVersionChanged(
            "the pending version is not the one that was staged: abandon the rotation"
        )
    return number


def _wait_for_targets(secret: Secret) -> StepWait | None:
    """Return why a login may not change or end yet: a target, or a reader of one, may have an older value."""
    if lag := explain_lag(secret):
        return _wait_a_minute(f"waits for {lag}")
    if until := readers_settle_at(secret):
        return StepWait(why="waits for the target's readers to see the current version", until=until)
    return None


def _wait_a_minute(why: str) -> StepWait:
    return StepWait(why=why, until=database_now() + _LOOK_AGAIN)


def _advance_to_test(session: RotationSession) -> StepWait | None:
    """Continue to the test; the time until then is stored with it, and so outlives this worker."""
    settle = session.rotator.settle_seconds
    if not settle:
        _advance(session, Step.TEST)
        return None
    until = database_now() + timedelta(seconds=settle)
    with _record_advance(session, Step.TEST, not_before=until):
        pass
    return StepWait(why=f"waits {settle} s for the replicas to have the new value", until=until)


def explain_differences(login: str, differences: Sequence[LoginDifference]) -> str:
    """Return a sentence that names the first differences, as many as a problem of a rotation holds."""
    named, left = "", len(differences)
    for difference in differences:
        if named and len(named) + len(str(difference)) > _SENTENCE:
            break
        named, left = f"{named}{'; ' if named else ''}{difference}", left - 1
    more = f"; and {left} more, which the dry run lists" if left else ""
    named = named[: 2 * _SENTENCE]
    return f"{login} is not what the current login is: {named}{more}. Make them alike, then retry"


def _advance(session: RotationSession, step: Step) -> None:
    with _record_advance(session, step):
        return


@contextmanager
def _record_advance(session: RotationSession, step: Step, **changes: Any) -> Iterator[Mapping[str, Json]]:
    """Commit the next intent, with its event and what the block adds; yield the details of its events."""
    rotation = session.rotation
    details: dict[str, Json] = {"rotation": str(rotation.uuid), "from": rotation.step, "step": step}
    with transaction.atomic():
        session.lease.advance(step, **changes)
        yield details
        record(
            actor=session.actor,
            action=Action.ROTATION_STEP,
            **stream_and_object(rotation.policy),
            details=details,
        )
