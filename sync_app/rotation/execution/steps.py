"""The steps of a rotation: what is done at each, so that any worker can continue where another stopped.

Each step finds its intent committed, does its act outside any transaction, and commits the next
intent. Nothing is assumed of an act whose answer was lost: a login with the value decides.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal
from secrets_app.models import SecretVersion
from secrets_app.queries.lookup import require_living as require_living_secret
from secrets_app.secret_types.registry import SecretType, inspect
from secrets_app.services import version_stages
from secrets_app.services.read import version_of
from sync_app.domain.rotation_state import ENDED, Step
from sync_app.errors import (
    BackendError,
    LeaseLost,
    LoginRefused,
    NotYetAccepted,
    RightsMissing,
    ServedMeanwhile,
    TargetUnreachable,
)
from sync_app.jobs.leases import database_now, leave_off_if_asked
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution.consumer_lag import lag_of, unconfirmed
from sync_app.rotation.execution.lease import Hold
from sync_app.rotation.lookup import left_behind, require_on
from sync_app.rotation.policies.credentials import Opened, open_policy
from sync_app.rotators.base import Answer, Pending, Rotator

_LOOK_AGAIN: Final = timedelta(minutes=1)
# With a larger clock difference the elapsed grace period is unknown.
_CLOCKS_APART: Final = timedelta(minutes=5)
_SERVED: Final = "the value that is served as current"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Why a rotation waits, without having failed, and until when; None: until its grace ends."""

    why: str
    until: datetime | None = None


def carry_on(hold: Hold, *, actor: Principal) -> Pause | None:
    """Go from step to step until the rotation has ended, or has to wait.

    Raises LeaseLost; WorkerStops between two steps; a BackendError, whose `permanent` decides whether to
    stop; AccessError, SecretError.
    """
    while (step := Step(hold.rotation.step)) not in ENDED:
        pause = _STEPS[step](hold, actor)
        if pause is not None:
            return pause
        # Before the next step is begun: what an attempt may have done already, the next worker has to know.
        leave_off_if_asked()
    return None


def _prepare(hold: Hold, actor: Principal) -> Pause | None:
    """Write down what will be set; nothing outside is changed before that is committed."""
    rotation, policy, secret = hold.rotation, hold.rotation.policy, hold.rotation.policy.secret
    require_on(actor=actor, action=Action.ROTATION_RUN, policy=policy)
    require_living_secret(secret)
    if not rotation.is_urgent and (lag := lag_of(secret)):
        return _later(f"waits for {lag}")
    current = version_of(secret, secret.current_number)
    opened = _opened(hold, actor, current)
    value = opened.values[current.number]
    left = left_behind(policy)
    if left is not None and not opened.rotator.overwrites_idle:
        _end_left(hold, actor, left)
    hold.renew()
    opened.rotator.check(value)
    _require_login(opened.rotator, value, what=_SERVED)
    pending = opened.rotator.prepare(value)
    version = None
    if pending.value is not None:
        version = version_stages.draft(actor=actor, secret=secret, value=pending.value, comment="rotated")
    with _advancing(
        hold,
        actor,
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


def _set(hold: Hold, actor: Principal) -> Pause | None:
    """Give the idle login the pending value; an earlier attempt may have done it.

    Where the served value does not log in, the login that was idle may be the one in use: a backup was
    restored, or both were changed.
    """
    rotation, secret = hold.rotation, hold.rotation.policy.secret
    current, opened = _served(hold, actor)
    pending = _pending(hold, opened)
    hold.renew()
    if rotation.attempts > 1 and pending.value is not None and opened.rotator.promises_login:
        probed = opened.rotator.probe(pending.value)
        if probed.answer is Answer.ACCEPTED:
            _advance(hold, actor, Step.TEST)
            return None
        hold.renew()
    _require_login(opened.rotator, current, what=_SERVED)
    value = opened.rotator.set(pending, current=current, fence=hold.fence())
    if pending.value is not None:
        _advance(hold, actor, Step.TEST)
        return None
    version = version_stages.draft(actor=actor, secret=secret, value=value, comment="rotated")
    try:
        with _advancing(hold, actor, Step.TEST, to_number=version.number) as details:
            version_stages.stage(actor=actor, secret=secret, version=version, details=details)
    except LeaseLost:
        # Given up while it was made: whoever withdrew it may have looked before it was there.
        _take_back(hold, opened.rotator, value)
        raise
    return None


def _test(hold: Hold, actor: Principal) -> Pause | None:
    """Log in with the pending value, and compare what both logins may do."""
    current, opened = _served(hold, actor)
    value = _pending_value(hold, opened)
    hold.renew()
    _require_login(opened.rotator, value, what="the new value")
    hold.renew()
    missing = opened.rotator.missing_rights(value, current=current)
    if missing:
        listed = "; ".join(missing[:5]) + ("; …" if len(missing) > 5 else "")  # noqa: PLR2004  a sentence, no list
        raise RightsMissing(
            f"{hold.rotation.login} lacks what the login in use may do ({listed}): grant it, then retry"
        )
    _advance(hold, actor, Step.PROMOTE)
    return None


def _promote(hold: Hold, actor: Principal) -> Pause | None:
    """Serve the new value, if it still logs in; the previous one keeps working."""
    rotation, policy, secret = hold.rotation, hold.rotation.policy, hold.rotation.policy.secret
    _, opened = _served(hold, actor)
    value = _pending_value(hold, opened)
    hold.renew()
    _require_login(opened.rotator, value, what="the new value")
    now = database_now()
    grace = timedelta() if rotation.is_urgent else timedelta(seconds=policy.grace_seconds)
    facts = inspect(SecretType(secret.secret_type), value)
    with _advancing(hold, actor, Step.GRACE, promoted_at=now, grace_until=now + grace) as details:
        version_stages.promote(actor=actor, secret=secret, facts=facts, details=details)
        RotationPolicy.objects.filter(pk=policy.pk).update(last_rotated_at=now)
    return None


def _grace(hold: Hold, actor: Principal) -> Pause | None:
    """Let the previous value work until its time is over and no known consumer uses it."""
    rotation, policy = hold.rotation, hold.rotation.policy
    now = database_now()
    if rotation.grace_until is not None and now < rotation.grace_until and not rotation.cut:
        return Pause(why="")
    if not rotation.is_urgent:
        if abs(timezone.now() - now) > _CLOCKS_APART:
            return _later("the clocks of the database and of this machine differ: set them right")
        if lag := lag_of(policy.secret):
            return _later(f"waits for {lag}")
        if policy.waits_for_consumers and (slow := unconfirmed(policy.secret)):
            names = sorted({each.consumer_name for each in slow})
            return _later(f"waits for {', '.join(names[:5])} to confirm the current version")
    _advance(hold, actor, Step.RETIRE)
    return None


def _retire(hold: Hold, actor: Principal) -> Pause | None:
    """Make the value before useless, after the served one was seen to log in."""
    rotation, secret = hold.rotation, hold.rotation.policy.secret
    if rotation.retiring_number is None:
        raise ServedMeanwhile("no earlier version was written down: abandon the rotation")
    old = version_of(secret, rotation.retiring_number)
    current, opened = _served(hold, actor, old)
    hold.renew()
    _require_login(opened.rotator, current, what=_SERVED)
    opened.rotator.retire(opened.values[old.number], current=current, fence=hold.fence())
    step = Step.ROLLED_BACK if rotation.reverted else Step.DONE
    with _advancing(hold, actor, step) as details:
        version_stages.drop_previous(actor=actor, secret=secret, details=details)
    return None


def _withdraw(hold: Hold, actor: Principal) -> Pause | None:
    """Make a value useless that was never served, unless its login may be the one in use (`_set`)."""
    rotation, secret = hold.rotation, hold.rotation.policy.secret
    # By its number: after it was given up once it is pending no more.
    written = [version_of(secret, rotation.to_number)] if rotation.to_number is not None else []
    current, opened = _served(hold, actor, *written)
    hold.renew()
    _require_login(opened.rotator, current, what=_SERVED)
    opened.rotator.withdraw(_pending(hold, opened), current=current, fence=hold.fence())
    with _advancing(hold, actor, Step.ABANDONED) as details:
        if secret.pending_number is not None and secret.pending_number == rotation.to_number:
            version_stages.drop_pending(actor=actor, secret=secret, details=details)
    return None


def _end_left(hold: Hold, actor: Principal, left: Rotation) -> None:
    """End the login that an abandoned rotation left, where the next secret would stand beside it."""
    secret = hold.rotation.policy.secret
    if secret.current_number != left.serving_number:
        # The value was changed since: `check` judges what exists beside it.
        return
    number = left.left_number
    current = version_of(secret, secret.current_number)
    versions = [current] if number is None else [current, version_of(secret, number)]
    opened = _opened(hold, actor, *versions)
    value = opened.values[current.number]
    _require_login(opened.rotator, value, what=_SERVED)
    pending = Pending(
        login=str(left.login),
        value=None if number is None else opened.values[number],
        before=tuple(left.keys_before),
    )
    opened.rotator.withdraw(pending, current=value, fence=hold.fence())


_STEPS: Final[Mapping[Step, Callable[[Hold, Principal], Pause | None]]] = {
    Step.PREPARE: _prepare,
    Step.SET: _set,
    Step.TEST: _test,
    Step.PROMOTE: _promote,
    Step.GRACE: _grace,
    Step.RETIRE: _retire,
    Step.WITHDRAW: _withdraw,
}


# --- How --------------------------------------------------------------------------------------


def _served(hold: Hold, actor: Principal, *more: SecretVersion) -> tuple[str, Opened]:
    """Return the value that is served as current, and what was opened along with it.

    Raises ServedMeanwhile if it is not the version that this rotation knows of: then nothing is
    touched that it might need.
    """
    rotation, secret = hold.rotation, hold.rotation.policy.secret
    # As it is now: steps before may have changed it.
    secret.refresh_from_db()
    if secret.current_number != rotation.serving_number:
        raise ServedMeanwhile(
            f"version {secret.current_number} is served, and this rotation knows of "
            f"{rotation.serving_number}: abandon it"
        )
    wanted = {version.number: version for version in (version_of(secret, secret.current_number), *more)}
    if rotation.to_number is not None and rotation.to_number == secret.pending_number:
        wanted.setdefault(rotation.to_number, version_of(secret, rotation.to_number))
    opened = _opened(hold, actor, *wanted.values())
    return opened.values[secret.current_number], opened


def _opened(hold: Hold, actor: Principal, *versions: SecretVersion) -> Opened:
    rotation = hold.rotation
    details: dict[str, Json] = {"rotation": str(rotation.uuid), "step": rotation.step}
    return open_policy(actor=actor, policy=rotation.policy, versions=versions, details=details)


def _pending(hold: Hold, opened: Opened) -> Pending:
    rotation = hold.rotation
    value = opened.values.get(rotation.to_number) if rotation.to_number is not None else None
    if value is None and rotation.to_number is not None:
        raise ServedMeanwhile(
            "the pending version is not the one that was written down: abandon the rotation"
        )
    return Pending(login=str(rotation.login), value=value, before=tuple(rotation.keys_before))


def _pending_value(hold: Hold, opened: Opened) -> str:
    value = _pending(hold, opened).value
    if value is None:
        raise ServedMeanwhile("no pending version was written down: abandon the rotation")
    return value


def _take_back(hold: Hold, rotator: Rotator, value: str) -> None:
    try:
        rotator.take_back(value)
    except BackendError as error:
        logger.warning("what rotation %s made is left where it is: %s", hold.rotation.uuid, error)


def _require_login(rotator: Rotator, value: str, *, what: str) -> None:
    """Log in with a value. Raises LoginRefused, NotYetAccepted, or TargetUnreachable: it is not known."""
    if not rotator.promises_login:
        return
    probed = rotator.probe(value)
    if probed.answer is Answer.ACCEPTED:
        return
    if probed.answer is Answer.UNKNOWN:
        raise TargetUnreachable(probed.why or "the login was not answered")
    if rotator.settling_seconds:
        raise NotYetAccepted(f"{what} is not accepted yet: {probed.why}")
    raise LoginRefused(f"{what} does not log in: {probed.why}")


def _later(why: str) -> Pause:
    return Pause(why=why, until=database_now() + _LOOK_AGAIN)


def _advance(hold: Hold, actor: Principal, step: Step) -> None:
    with _advancing(hold, actor, step):
        return


@contextmanager
def _advancing(hold: Hold, actor: Principal, step: Step, **changes: Any) -> Iterator[Mapping[str, Json]]:
    """Commit the next intent, with its event and what the block adds; yield the details of its events."""
    rotation = hold.rotation
    details: dict[str, Json] = {"rotation": str(rotation.uuid), "from": rotation.step, "step": step}
    with transaction.atomic():
        hold.advance(step, **changes)
        yield details
        record(
            actor=actor,
            action=Action.ROTATION_STEP,
            stream=environment_stream(rotation.policy.environment.uuid),
            object=rotation.policy.audit_object,
            details=details,
        )
