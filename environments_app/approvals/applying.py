"""Applies an approved act at once, as the requester, with the rights that they have at that moment.

The decision is committed before. Whatever fails afterwards leaves the request approved: the requester, or
the schedule where a process ended in between, applies it later.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app.approvals import service
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import load_principal
from environments_app.errors import AccessError, Invisible
from environments_app.interfaces import owner_of
from environments_app.models import Approval, ApprovalState
from environments_app.models.approval import in_time

# What comes of it is shown once, to the requester alone.
_SHOWN_ONCE: Final = frozenset({Action.TOKEN_ISSUE, Action.SECRET_REVEAL})
# The request that approved it is still applying it until then.
_LEFT_ALONE: Final = timedelta(minutes=1)
_BATCH: Final = 50
_LOST: Final = "{} can see it no longer, or it is gone. Nothing was changed."


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What became of an approved act; `reason` is why it was not applied, if it was tried."""

    approval: Approval
    sentence: str = ""
    reason: str = ""

    @property
    def done(self) -> bool:
        return bool(self.approval.state == ApprovalState.EXECUTED)


def approve_and_apply(*, actor: Principal, approval: Approval, comment: str = "") -> Applied:
    """Approve an act and apply it, unless the requester holds it. Raises as `approve` does."""
    approved = service.approve(actor=actor, approval=approval, comment=comment)
    if not is_applied_on_approval(approved):
        return Applied(approval=approved)
    return _apply(approved, request_id=actor.request_id)


def is_applied_on_approval(approval: Approval) -> bool:
    """Return whether approval applies the act: not if it is held, or if its result is shown only once."""
    return approval.state == ApprovalState.APPROVED and not approval.held and not is_shown_once(approval)


def is_shown_once(approval: Approval) -> bool:
    """Return whether the result is shown once, to the requester alone, who therefore applies it."""
    return approval.action in _SHOWN_ONCE


def apply_left() -> int:
    """Apply what was approved by a process that ended before it applied it; return how many were tried."""
    rows = Approval.objects.filter(
        in_time(),
        state=ApprovalState.APPROVED,
        held="",
        failure="",
        decided_at__lt=timezone.now() - _LEFT_ALONE,
        environment__deleted_at__isnull=True,
    ).exclude(action__in=_SHOWN_ONCE)
    approvals = verified_rows(rows.select_related("environment").order_by("id")[:_BATCH])
    failed: Exception | None = None
    for row in approvals:
        try:
            _apply(row)
        except Exception as error:  # noqa: BLE001 - raised below: one request must not hold up the others
            failed = failed or error
    if failed:
        raise failed
    return len(approvals)


def _apply(approval: Approval, *, request_id: str = "") -> Applied:
    """Carry out an approved act as its requester; a refusal is noted on the request."""
    approval.refresh_from_db()
    requester = replace(load_principal(approval.requester), request_id=request_id)
    refusals: tuple[type[Exception], ...] = (AccessError, *owner_of(approval.action).refusals)
    try:
        result = service.carry_out(actor=requester, approval=approval)
    except refusals as error:
        approval.refresh_from_db()
        if approval.state != ApprovalState.APPROVED:
            # Another process, or the requester, was first.
            return Applied(approval=approval)
        reason = _LOST.format(requester.name) if isinstance(error, Invisible) else str(error)
        return Applied(approval=approval, reason=service.note_failure(approval, reason))
    return Applied(approval=approval, sentence=result.sentence)
