"""Carries rotations on: claims one, tries again what may pass, and stops with a sentence what does not."""

import logging
import os
import socket
from functools import partial
from typing import Final
from uuid import uuid4

from django.db import IntegrityError, transaction

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import verified_rows
from audit_app.interfaces import KeyringUnavailable
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.workers import nudge
from environments_app.authorization.policy import Principal
from environments_app.errors import AccessError, Forbidden, Invisible, Tampered
from secrets_app.errors import KeyUnavailable, SecretError, StaleVersion
from sync_app.domain.rotation_state import Slot, Step
from sync_app.errors import BackendError, LeaseLost, ShutdownRequested, SyncError
from sync_app.jobs.leases import database_now, released_if_lost, reserve, resume, retry_delay
from sync_app.metrics import count_rotation
from sync_app.models import Rotation
from sync_app.models.run import Trigger
from sync_app.rotation import status
from sync_app.rotation.execution.requests import ROTATE
from sync_app.rotation.execution.session import RotationLease, RotationSession, claim
from sync_app.rotation.execution.steps import StepWait, run_steps
from sync_app.rotation.policies.credentials import load_rotation_principal
from sync_app.rotation.policies.rules import window_of

# Attempts of one step before it stops: with the delays between them about 50 minutes.
MAX_ATTEMPTS: Final = 12
_AT_ONCE: Final = 5
_DIED: Final = "the work ended unexpectedly, time and again: look at the worker's log, then retry"
logger = logging.getLogger(__name__)


def execute(rotation_id: int) -> Rotation | None:
    """Carry a rotation on as far as it goes now; None if it waits, has ended, or another worker has it.

    Never raises for refusals by a server, the keys or the rights: the rotation stores them.
    """
    with reserve("rotation", rotation_id) as is_free:
        return resume(partial(_claim_and_run, rotation_id)) if is_free else None


def _claim_and_run(rotation_id: int) -> Rotation | None:
    lease = claim(rotation_id, owner=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}")
    if lease is None:
        return None
    was_served, lost = lease.rotation.promoted_at is not None, False
    try:
        with released_if_lost(partial(_release, lease)):
            _run_attempt(lease)
    except LeaseLost:
        lost = True
        logger.info("rotation %s is carried on by another worker", lease.rotation.uuid)
    rotation = Rotation.objects.select_related("policy__environment", "policy__secret").get(pk=rotation_id)
    if not lost:
        count_rotation(rotation, was_served=was_served)
    status.update_after_work(rotation)
    if rotation.has_ended:
        start_waiting(rotation.policy_id)
    return rotation


def _release(lease: RotationLease) -> None:
    """Let go after a lost transaction, which may have been the one that continued to the next step."""
    lease.reload()
    lease.requeue(not_before=None)


def start_waiting(policy_id: int) -> Rotation | None:
    """Let the rotation that waits begin, if none of its policy is at work; return it.

    It continues to wait while the policy is suspended and, if the schedule asked for it, outside the
    window. Any number of processes may ask at once. One that became an emergency concurrently also
    continues to wait: the next call finds it.
    """
    waiting = Rotation.objects.select_related("policy").filter(policy_id=policy_id, slot=Slot.WAITING).first()
    busy = Rotation.objects.filter(policy_id=policy_id, slot=Slot.WORKING).exists()
    if waiting is None or busy or not verified_rows([waiting]) or not _can_start(waiting):
        return None
    # As it was read: the new MAC is over what stood there then.
    as_read = Rotation.objects.filter(
        pk=waiting.pk, step=Step.WAITING, emergency=waiting.emergency, row_mac=waiting.row_mac
    )
    waiting.step, waiting.slot, waiting.problem = Step.PREPARE, Slot.WORKING, ""
    waiting.seal_row()
    try:
        with transaction.atomic():
            begun = as_read.update(step=waiting.step, slot=waiting.slot, problem="", row_mac=waiting.row_mac)
    except IntegrityError:
        return None  # another process let it in
    return waiting if begun else None


def _can_start(rotation: Rotation) -> bool:
    policy = rotation.policy
    # An emergency may have been made of one that the schedule had asked for.
    by_schedule = rotation.trigger == Trigger.SCHEDULE and not rotation.emergency
    window = window_of(policy) if by_schedule else None
    return policy.suspended_at is None and (window is None or window.contains(database_now()))


def _run_attempt(lease: RotationLease) -> None:
    if lease.rotation.attempts > MAX_ATTEMPTS:
        _stop(lease, lease.rotation.problem or _DIED)
        return
    try:
        actor = load_rotation_principal(lease.rotation)
    except (SyncError, AccessError) as error:
        _stop(lease, str(error))
        return
    try:
        pause = _run_steps(lease, actor)
    except LeaseLost:
        raise
    except ShutdownRequested:
        if not lease.rotation.has_ended:
            lease.requeue(not_before=None, waiting=True)
            nudge(ROTATE, lease.rotation.pk)
    except (BackendError, KeyUnavailable, KeyringUnavailable, StaleVersion) as error:
        lease.reload()
        _handle_failure(lease, error)
    except (SyncError, AccessError, SecretError) as error:
        lease.reload()
        _stop(lease, _explain_error(error))
    else:
        if pause is not None:
            lease.requeue(not_before=pause.until, problem=pause.why, waiting=True)


def _run_steps(lease: RotationLease, actor: Principal) -> StepWait | None:
    for _ in range(_AT_ONCE):
        try:
            return run_steps(RotationSession(lease, actor=actor))
        except StaleVersion:
            # The secret's metadata were changed concurrently; only the policy writes its value.
            lease.reload()
            actor = load_rotation_principal(lease.rotation)
    return run_steps(RotationSession(lease, actor=actor))


def _handle_failure(lease: RotationLease, error: Exception) -> None:
    attempts = lease.rotation.attempts
    sentence = _explain_error(error)
    if getattr(error, "permanent", False) or attempts >= MAX_ATTEMPTS:
        _stop(lease, sentence)
        return
    lease.requeue(not_before=database_now() + retry_delay(attempts - 1), problem=sentence)


def _stop(lease: RotationLease, sentence: str) -> None:
    rotation = lease.rotation
    with transaction.atomic():
        lease.stop(sentence)
        record(
            actor=rotation.actor,
            action=Action.ROTATION_STEP,
            **stream_and_object(rotation.policy),
            outcome=Outcome.FAILED,
            details={"rotation": str(rotation.uuid), "step": rotation.step, "error": sentence[:500]},
        )


def _explain_error(error: Exception) -> str:
    if isinstance(error, Forbidden | Invisible):
        return "the requester no longer has permission: request it again, or abandon it"
    if isinstance(error, Tampered):
        return f"{error} Ask an operator to run verify_audit."
    return str(error)
