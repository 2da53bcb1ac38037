"""Use cases of approvals: decide, withdraw, and carry out a pending act.

What was approved is carried out as the requester, through the executor of its app and the ordinary use case,
which checks the approval again (`gate`): by the requester, or at once (`applying`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL, Actor, ActorKind, system
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.approvals import history
from environments_app.approvals.approvers import (
    ONE_PERSON,
    approvals_given,
    approvals_that_count,
    can_approve,
    custody_of,
    people_who_decide,
    why_not_approver,
)
from environments_app.approvals.gate import record_act
from environments_app.approvals.group_members import change_since
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, environments_for, record_denial, require
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import (
    ApprovalVoid,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    NotThisApprover,
    Tampered,
)
from environments_app.interfaces import ChangedNames, ExecutionResult, Reader, owner_of
from environments_app.models import Approval, ApprovalState, EntryKind, Environment
from environments_app.models.approval import HELD, OPEN_STATES, in_time, read_within
from environments_app.notifications.service import resolve_alert
from environments_app.sessions.service import lock_row

MAX_COMMENT: Final = 500
REJECTION_SHOWN_FOR: Final = timedelta(days=7)
_BATCH: Final = 200
_DECIDED: Final = {ApprovalState.APPROVED: "approved", ApprovalState.REJECTED: "rejected"}
_MOST_ABOUT: Final = 3
_MAX_FAILURE: Final = 300
_CHANGED: Final = (
    "{} has changed since the request, or is gone: nothing of it can be applied. Request approval again."
)
_ANOTHER: Final = "Another manager of the environment must review this request."
_COULD_BE_ONE: Final = (
    "You could have made this request as well: you and its requester hold the same account, token or trust, "
    "or one person made or reset both accounts. Ask another approver. A manager confirms an account on "
    "the environment's page Access. Where none can, keeper changepassword NAME on the host gives a local "
    "account to its person; one of single sign-on is confirmed by another person who becomes manager."
)


def visible_approvals(actor: Principal) -> QuerySet[Approval]:
    """Return the requests visible to the actor: their own, and those of environments they manage."""
    places = environments_for(actor, Action.APPROVAL_VIEW)
    mine = Q(requester_uuid=actor.uuid, requester_kind=actor.kind)
    managed = Q(environment__in=Environment.objects.filter(places)) if places is not None else Q(pk__in=())
    living = Approval.objects.filter(environment__deleted_at__isnull=True)
    return living.filter(mine | managed).select_related("environment")


def pending_about(actor: Principal, object_uuid: UUID) -> list[Approval]:
    """Return the requests about an object that are pending and visible to the actor, three at most."""
    rows = visible_approvals(actor).filter(in_time(), object_uuid=object_uuid, state=ApprovalState.PENDING)
    return verified_rows(rows.order_by("id")[:_MOST_ABOUT])


def waiting_for(actor: Principal) -> list[Approval]:
    """Return the requests that this person may decide now, the oldest first."""
    if actor.kind is not ActorKind.USER:
        return []
    rows = visible_approvals(actor).filter(in_time(), state=ApprovalState.PENDING)
    others = verified_rows(rows.exclude(requester_uuid=actor.uuid).order_by("id")[:_BATCH])
    custody = custody_of(actor, others)
    several = [row for row in others if row.environment.approvals_needed > 1]
    mine = history.approved_by(actor, several) if several else set()
    return [row for row in others if row.pk not in mine and can_approve(actor, row, custody)]


def resolved_for(actor: Principal) -> list[Approval]:
    """Return what became of a person's own requests: to be applied, applied lately, rejected lately."""
    if actor.kind is not ActorKind.USER:
        return []
    now = timezone.now()
    ready = in_time() & Q(state=ApprovalState.APPROVED)
    lately = now - REJECTION_SHOWN_FOR
    refused = Q(state=ApprovalState.REJECTED, decided_at__gt=lately)
    applied = Q(state=ApprovalState.EXECUTED, held="", decided_at__gt=lately)
    rows = Approval.objects.filter(
        ready | refused | applied,
        requester_uuid=actor.uuid,
        requester_kind=actor.kind,
        environment__deleted_at__isnull=True,
    )
    # By the words of the states, so that no number of refusals crowds out what waits.
    return verified_rows(rows.select_related("environment").order_by("state", "id")[:_BATCH])


def in_state(decided: list[Approval], state: ApprovalState) -> list[Approval]:
    """Return those in a state: approved and to be carried out, rejected, or applied when approved."""
    return [row for row in decided if row.state == state]


def find_approval(*, actor: Principal, id: int) -> Approval:
    """Return a request. Raises Invisible if there is none that the actor may know; a denial is recorded."""
    approval = Approval.objects.select_related("environment").filter(pk=id).first()
    if approval is None or approval.environment.deleted_at is not None:
        raise Invisible("There is no such request.")
    if not _is_own(actor, approval):
        require(
            actor=actor,
            action=Action.APPROVAL_VIEW,
            environment=approval.environment,
            object=approval.audit_object,
        )
    return approval


def may_approve(actor: Principal, approval: Approval) -> bool:
    """Return whether the actor may decide about a request in its present state."""
    return (
        approval.state == ApprovalState.PENDING
        and approval.is_live
        and can_approve(actor, approval, CustodyGraph())
        and actor.uuid not in approvals_given(approval)
    )


def is_approver(actor: Principal, approval: Approval) -> bool:
    """Return whether the actor may decide about requests like this one, in any state."""
    return can_approve(actor, approval, CustodyGraph())


def obstacle(actor: Principal, approval: Approval) -> str:
    """Return why an approver may not decide about this request of another account; "" without one."""
    one = why_not_approver(actor, approval, CustodyGraph()) == ONE_PERSON
    return _COULD_BE_ONE if one and approval.state == ApprovalState.PENDING and approval.is_live else ""


def approve(*, actor: Principal, approval: Approval, comment: str = "") -> Approval:
    """Approve an act, which is then carried out as its requester; return the request as stored.

    Where the environment needs several approvals, it stays pending until the last of them.

    Raises Forbidden for a token, for the requester and for a user who is no approver there; ApprovalVoid if
    it was decided, withdrawn or has expired, or grants nothing any more, of which the requester is told;
    Tampered.
    """
    try:
        return _decide(actor, approval, ApprovalState.APPROVED, comment)
    except ApprovalVoid:
        if changed := changed_since(approval):
            history.notify_requester(approval, f"{actor.name} could not approve your request", [changed])
        raise


def reject(*, actor: Principal, approval: Approval, comment: str = "") -> Approval:
    """Refuse an act; return the request as stored. Raises as `approve` does."""
    return _decide(actor, approval, ApprovalState.REJECTED, comment)


def explain(
    *, actor: Principal, approval: Approval, reason: str | None = None, held: bool | None = None
) -> Approval:
    """Set the reason of an undecided request, and whether it is held; None keeps it. Return it as stored.

    The approval of a held request does not apply it: the requester does.

    Raises Forbidden unless the actor is the requester, InvalidField, ApprovalVoid if it was decided,
    Tampered.
    """
    _require_own(actor, approval, Action.APPROVAL_ASK, "Only the requester can change the reason.")
    if reason is not None and len(reason) > MAX_COMMENT:
        raise InvalidField("reason", f"Use at most {MAX_COMMENT} characters.")
    with (
        _refusals_recorded(actor, approval, Action.APPROVAL_ASK, Outcome.DENIED),
        lock_authentic(approval) as stored,
    ):
        _require_open(stored)
        if reason is not None:
            stored.reason = reason.strip()
        if held is not None:
            stored.held = HELD if held else ""
        stored.save(update_fields=["reason", "held"])
        details: dict[str, Json] = {"reason": stored.reason, "held": bool(stored.held)}
        record_act(actor=actor, action=Action.APPROVAL_ASK, approval=stored, details=details)
    return stored


def withdraw(*, actor: Principal, approval: Approval) -> Approval:
    """Withdraw the actor's own request, decided or not; return it as stored.

    Raises Forbidden unless the actor is the requester, ApprovalVoid if it is over, Tampered.
    """
    _require_own(actor, approval, Action.APPROVAL_WITHDRAW, "Only the requester can cancel a request.")
    with lock_authentic(approval) as stored:
        if not stored.is_live:
            raise ApprovalVoid("This request is already closed.")
        _close(stored, ApprovalState.WITHDRAWN, actor, Action.APPROVAL_WITHDRAW)
    return stored


def withdraw_all(*, actor: Actor, requester: UUID, environment: Environment, reason: str) -> int:
    """Withdraw what an ended account has requested in an environment, in the caller's transaction.

    Return how many. A forged row stays: it is never carried out.
    """
    rows = Approval.objects.filter(
        in_time(), state__in=OPEN_STATES, environment=environment, requester_uuid=requester
    )
    count = 0
    for row in verified_rows(rows.select_related("environment").order_by("id")):
        with lock_authentic(row) as stored:
            if stored.is_live:
                _close(stored, ApprovalState.WITHDRAWN, actor, Action.APPROVAL_WITHDRAW, reason)
                count += 1
    return count


def carry_out(*, actor: Principal, approval: Approval) -> ExecutionResult:
    """Execute an approved act, once, by its ordinary use case.

    Raises Forbidden unless the actor is the requester; ApprovalVoid if it is not approved, or the act
    differs from the approved one; Tampered; and the errors of the use case.
    """
    _require_own(actor, approval, Action.APPROVAL_CARRY_OUT, "Only the requester can apply the change.")
    _require_authentic(approval)
    owner = owner_of(approval.action)
    with _refusals_recorded(actor, approval, Action.APPROVAL_CARRY_OUT, Outcome.FAILED, owner.refusals):
        if approval.state != ApprovalState.APPROVED or not approval.is_live:
            raise ApprovalVoid("This request is not approved.")
        result = owner.carry_out(actor=actor.carrying(approval.uuid), approval=approval)
        approval.refresh_from_db()
        if approval.state != ApprovalState.EXECUTED:
            raise ApprovalVoid("Nothing to apply: the change has already been made.")
    return result


def note_failure(approval: Approval, reason: str) -> str:
    """Store why an approved act could not be applied, notify the requester, and return it.

    Empty if it was applied or withdrawn in the meantime.
    """
    failure = (reason or "It could not be applied.")[:_MAX_FAILURE]
    still = Approval.objects.filter(pk=approval.pk, state=ApprovalState.APPROVED)
    if not still.update(failure=failure):
        return ""
    approval.failure = failure
    history.notify_requester(
        approval,
        "Keeper could not apply your approved request",
        [approval.failure, "Open the request to apply the change, or cancel it."],
    )
    return approval.failure


def changed_since(approval: Approval) -> str:
    """Return why an open request cannot be approved or applied any more as it stands; "" if it can."""
    if not (approval.is_live and approval.is_authentic()):
        return ""
    if changed := change_since(approval.arguments, approval.environment):
        return changed
    if not approval.expected or owner_of(approval.action).state_of(approval) == approval.expected:
        return ""
    return _CHANGED.format(approval.object_name)


def object_url(approval: Approval) -> str:
    """Return the page of what a request is about; empty if there is none."""
    return owner_of(approval.action).object_url(approval)


def changed_names(actor: Principal, approval: Approval) -> ChangedNames | None:
    """Return what a request does with secrets that its lines do not name, as far as the actor sees them."""
    return owner_of(approval.action).changed_names(actor=actor, approval=approval)


def readers(actor: Principal, approval: Approval) -> Sequence[Reader]:
    """Return who read of late what a request asks to read, the latest first, as far as the actor may know."""
    return owner_of(approval.action).readers(actor=actor, approval=approval)


def expire_due() -> int:
    """Note that the time of requests is over, and destroy what was kept for them; return how many."""
    due = Approval.objects.filter(state__in=OPEN_STATES).exclude(in_time())
    rows = verified_rows(due.select_related("environment").order_by("id")[:_BATCH])
    for row in rows:
        with lock_authentic(row) as stored:
            if stored.state in OPEN_STATES:
                _close(stored, ApprovalState.EXPIRED, system(), Action.APPROVAL_EXPIRE)
    return len(rows)


def approve_from_host(*, actor: Principal, approval: Approval, reason: str) -> Approval:
    """Approve as the operator of the host, if no other account can; it alerts.

    Raises Forbidden unless called by Keeper's own commands, Conflict while another account could approve.
    """
    _require_host(actor, reason)
    with (
        _refusals_recorded(actor, approval, Action.APPROVAL_DECIDE, Outcome.DENIED),
        lock_authentic(approval) as stored,
    ):
        others = possible_approvers(stored)
        if others:
            raise Conflict(f"Ask one of them instead: {', '.join(others[:10])}.")
        _require_open(stored)
        _note_decision(stored, actor, ApprovalState.APPROVED, reason, uuid=NIL)
        record_act(actor=actor, action=Action.BREAK_GLASS, approval=stored, details={"reason": reason})
    return stored


def reject_from_host(*, actor: Principal, approval: Approval, reason: str) -> Approval:
    """Refuse a request as the operator of the host. Raises Forbidden, InvalidField, ApprovalVoid."""
    _require_host(actor, reason)
    with (
        _refusals_recorded(actor, approval, Action.APPROVAL_DECIDE, Outcome.DENIED),
        lock_authentic(approval) as stored,
    ):
        _require_open(stored)
        _note_decision(stored, actor, ApprovalState.REJECTED, reason, uuid=NIL)
    return stored


def _require_host(actor: Principal, reason: str) -> None:
    if actor.kind is not ActorKind.SYSTEM or not actor.is_admin:
        raise Forbidden("Use the command on Keeper's host.")
    if not reason.strip():
        raise InvalidField("reason", "Enter a reason.")


def possible_approvers(approval: Approval) -> list[str]:
    """Return the names of all who may decide about a request now."""
    return [person.username for person in people_who_decide(approval)]


def _decide(actor: Principal, approval: Approval, state: ApprovalState, comment: str) -> Approval:
    require(
        actor=actor,
        action=Action.APPROVAL_DECIDE,
        environment=approval.environment,
        object=approval.audit_object,
    )
    _require_authentic(approval)
    reason = why_not_approver(actor, approval, CustodyGraph())
    if reason:
        _deny(actor, approval, Action.APPROVAL_DECIDE, reason=reason)
        raise NotThisApprover(_COULD_BE_ONE if reason == ONE_PERSON else _ANOTHER)
    with (
        _refusals_recorded(actor, approval, Action.APPROVAL_DECIDE, Outcome.DENIED),
        lock_row(actor, approval, Action.APPROVAL_DECIDE, approval.environment) as stored,
    ):
        _require_open(stored)
        changed = changed_since(stored)
        if changed and state == ApprovalState.APPROVED:
            raise ApprovalVoid(changed)
        several = state == ApprovalState.APPROVED and stored.environment.approvals_needed > 1
        if several and not _is_last_of_several(stored, actor, comment):
            return stored
        _note_decision(stored, actor, state, comment, uuid=actor.uuid)
    return stored


def _is_last_of_several(stored: Approval, actor: Principal, comment: str) -> bool:
    """Note one of several approvals; return whether it is the last that the request needs.

    Those of people who could not give them any more do not count. Raises Conflict for a second one of a
    person, or of an account that the same person could use.
    """
    approvals, environment = approvals_that_count(stored), stored.environment
    needed = environment.approvals_needed
    if actor.uuid in approvals or CustodyGraph().are_one(actor.uuid, approvals, environment=environment):
        raise Conflict("Each approval must come from a different person.")
    _require_short(comment)
    history.add(stored, actor, EntryKind.APPROVAL, comment)
    count = len(approvals) + 1
    if count >= needed:
        return True
    details: dict[str, Json] = {
        "decision": "approved",
        "comment": comment,
        "approvals": f"{count} of {needed}",
    }
    record_act(actor=actor, action=Action.APPROVAL_DECIDE, approval=stored, details=details)
    history.notify_requester(
        stored,
        f"{actor.name} approved ({count} of {needed}) your request",
        [f"Comment: {comment}"] * bool(comment),
    )
    return False


def _require_short(comment: str) -> None:
    if len(comment) > MAX_COMMENT:
        raise InvalidField("comment", f"Use at most {MAX_COMMENT} characters.")


def _require_authentic(approval: Approval) -> None:
    if not verified_rows([approval]):
        raise Tampered("The stored request was changed outside Keeper; it can't be used.")


def _note_decision(
    stored: Approval, actor: Principal, state: ApprovalState, comment: str, *, uuid: UUID
) -> None:
    _require_short(comment)
    now = timezone.now()
    stored.state, stored.comment = state, comment
    stored.decided_by_uuid, stored.decided_by_name, stored.decided_at = uuid, actor.name, now
    if stored.action == Action.SECRET_REVEAL:
        stored.expires_at = min(stored.expires_at, now + read_within())
    if state == ApprovalState.REJECTED:
        stored.finished_at = now
        owner_of(stored.action).forget(stored)
    stored.save()
    record_act(
        actor=actor,
        action=Action.APPROVAL_DECIDE,
        approval=stored,
        details={"decision": str(state), "comment": comment},
    )
    _settled(stored, f"{actor.name} {_DECIDED[state]} {stored.requester_name}'s request")
    _tell_requester(stored)


def _close(stored: Approval, state: ApprovalState, actor: Actor, action: Action, reason: str = "") -> None:
    stored.state, stored.finished_at = state, timezone.now()
    owner_of(stored.action).forget(stored)
    stored.save(update_fields=["state", "finished_at"])
    record_act(actor=actor, action=action, approval=stored, details={"reason": reason} if reason else None)
    _settled(stored, f"{state.label}: {stored.requester_name}'s request")


def _settled(approval: Approval, what: str) -> None:
    resolve_alert(
        kinds={"approval"},
        about=approval.uuid,
        subject=history.sentence(approval, what),
        link=reverse("approval-detail", args=[approval.pk]),
    )


def _tell_requester(approval: Approval) -> None:
    comment = [f"Comment: {approval.comment}"] if approval.comment else []
    approved = approval.state == ApprovalState.APPROVED
    next_step = ["Open the request to apply the change."] if approved and approval.held else []
    word = _DECIDED[ApprovalState(approval.state)]
    history.notify_requester(
        approval, f"{approval.decided_by_name} {word} your request", [*comment, *next_step]
    )


def _require_open(approval: Approval) -> None:
    if approval.state != ApprovalState.PENDING or not approval.is_live:
        raise ApprovalVoid(f"The request is {approval.shown_state} already.")


def _require_own(actor: Principal, approval: Approval, action: Action, sentence: str) -> None:
    """Raise Forbidden, recorded, unless the actor is the requester."""
    if not _is_own(actor, approval):
        _deny(actor, approval, action)
        raise Forbidden(sentence)


@contextmanager
def _refusals_recorded(
    actor: Principal,
    approval: Approval,
    action: Action,
    outcome: Outcome,
    others: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Record what refuses a decision or an act: what the policy denies, it has recorded itself."""
    refusals: tuple[type[Exception], ...] = (Conflict, *others)
    try:
        yield
    except refusals as error:
        commit_record(
            actor=actor,
            action=action,
            **stream_and_object(approval),
            outcome=outcome,
            details={"act": approval.action, "reason": str(error)[:_MAX_FAILURE]},
        )
        raise


def _deny(actor: Principal, approval: Approval, action: Action, *, reason: str = "") -> None:
    record_denial(
        actor=actor,
        action=action,
        environment=approval.environment,
        object=approval.audit_object,
        reason=reason,
    )


def _is_own(actor: Principal, approval: Approval) -> bool:
    return (actor.kind, actor.uuid) == (approval.requester.kind, approval.requester_uuid)
