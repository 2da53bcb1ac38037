"""The pages of approvals: what waits for me, what I asked for, and one request in detail."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from audit_app.integrity.row_authentication import verified_rows
from environments_app.access_requests import service as access_requests
from environments_app.approvals import applying, history
from environments_app.approvals import service as approvals
from environments_app.approvals.approvers import approvals_given
from environments_app.authentication.drf import principal_of
from environments_app.errors import ApprovalVoid, ConfirmationNeeded, Conflict, InvalidField
from environments_app.models import Approval, ApprovalState
from environments_app.views.base import confirm_first, render_page, run_act

_SHOWN: Final = 50
_OWN: Final = 20


@login_required
@require_GET
def approval_list(request: HttpRequest) -> HttpResponse:
    """Show what waits for this person, what they may carry out, and the latest requests."""
    actor = principal_of(request)
    named = request.GET.get("environment", "")
    latest = approvals.visible_approvals(actor).order_by("-id")
    latest = latest.filter(environment__name=named) if named else latest
    context = {
        "waiting": _narrowed(approvals.waiting_for(actor), named),
        "ready": _narrowed(approvals.in_state(approvals.resolved_for(actor), ApprovalState.APPROVED), named),
        "latest": verified_rows(latest[:_SHOWN]),
        "asking": [
            each for each in access_requests.waiting_for(actor) if named in {"", each.environment_name}
        ],
        "own_requests": verified_rows(access_requests.own_requests(actor)[:_OWN]),
    }
    return render(request, "environments_app/approval_list.html", context)


def _narrowed(rows: list[Approval], environment: str) -> list[Approval]:
    return [row for row in rows if environment in {"", row.environment.name}]


@login_required
@require_GET
def approval_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show one request: requester, reason and act, masked, and the user's possible actions."""
    actor = principal_of(request)
    approval = approvals.find_approval(actor=actor, id=id)
    own = approval.requester_uuid == actor.uuid
    given = approvals_given(approval)
    context = {
        "approval": approval,
        "environment": approval.environment,
        "verified": bool(verified_rows([approval])),
        "may_decide": approvals.may_approve(actor, approval),
        "obstacle": approvals.obstacle(actor, approval),
        "may_comment": approval.is_live and (own or approvals.is_approver(actor, approval)),
        "entries": history.entries_of(approval),
        "given": given,
        "last_approval": len(given) + 1 >= approval.environment.approvals_needed,
        "max_text": history.MAX_TEXT,
        "may_withdraw": own and approval.is_live,
        "may_explain": own and approval.is_live and approval.state == ApprovalState.PENDING,
        "may_carry_out": own and approval.is_live and approval.state == ApprovalState.APPROVED,
        "object_url": approvals.object_url(approval),
        "names": approvals.changed_names(actor, approval),
        "applies": not approval.held and not applying.is_shown_once(approval),
        "approvers": approvals.possible_approvers(approval) if own else [],
        "max_comment": approvals.MAX_COMMENT,
    }
    return render_page(request, "environments_app/approval_detail.html", context)


@login_required
@require_POST
def approval_approve(request: HttpRequest, id: int) -> HttpResponse:
    """Approve a request, and apply it unless it is held."""
    actor = principal_of(request)
    found = approvals.find_approval(actor=actor, id=id)
    comment = request.POST.get("comment", "").strip()
    try:
        applied = applying.approve_and_apply(actor=actor, approval=found, comment=comment)
    except (Conflict, InvalidField) as error:
        messages.error(request, str(error))
        return redirect("approval-detail", id=id)
    if applied.approval.state == ApprovalState.PENDING:
        messages.success(request, "Approved. It needs more approvals before it is applied.")
    elif applied.reason:
        messages.warning(request, f"Approved, but not applied: {applied.reason}")
    elif applied.done:
        messages.success(request, f"Approved and applied. {applied.sentence}")
    else:
        messages.success(request, f"Approved. {found.requester_name} can now apply the change.")
    return redirect("approval-detail", id=id)


@login_required
@require_POST
def approval_refuse(request: HttpRequest, id: int) -> HttpResponse:
    """Refuse a request."""
    actor = principal_of(request)
    found = approvals.find_approval(actor=actor, id=id)
    comment = request.POST.get("comment", "").strip()
    return _attempt(
        request,
        id,
        lambda: approvals.reject(actor=actor, approval=found, comment=comment),
        "Request rejected.",
    )


@login_required
@require_POST
def approval_comment(request: HttpRequest, id: int) -> HttpResponse:
    """Add a comment to a request, which the other side is notified of."""
    actor = principal_of(request)
    found = approvals.find_approval(actor=actor, id=id)
    text = request.POST.get("text", "")
    return _attempt(
        request, id, lambda: history.comment(actor=actor, approval=found, text=text), "Comment added."
    )


@login_required
@require_POST
def approval_withdraw(request: HttpRequest, id: int) -> HttpResponse:
    """Withdraw the user's own request."""
    actor = principal_of(request)
    found = approvals.find_approval(actor=actor, id=id)
    return _attempt(request, id, lambda: approvals.withdraw(actor=actor, approval=found), "Request canceled.")


@login_required
@require_POST
def approval_explain(request: HttpRequest, id: int) -> HttpResponse:
    """Set the reason of a request."""
    actor = principal_of(request)
    found = approvals.find_approval(actor=actor, id=id)
    reason, held = request.POST.get("reason", ""), "held" in request.POST
    return _attempt(
        request,
        id,
        lambda: approvals.explain(actor=actor, approval=found, reason=reason, held=held),
        "Request saved.",
    )


@sensitive_variables()
@login_required
@require_POST
def approval_carry_out(request: HttpRequest, id: int) -> HttpResponse:
    """Do what was approved; a token that comes of it is shown this once."""
    actor = principal_of(request)
    found = approvals.find_approval(actor=actor, id=id)
    try:
        done = approvals.carry_out(actor=actor, approval=found)
    except ApprovalVoid as error:
        messages.error(request, str(error))
        return redirect("approval-detail", id=id)
    except ConfirmationNeeded:
        return confirm_first(request, back=reverse("approval-detail", args=[id]))
    if done.plaintext:
        context = {
            "token": {"name": found.object_name, "role": found.arguments.get("role", "")},
            "plaintext": done.plaintext,
            "environment": found.environment,
            "back_url": reverse("approval-detail", args=[id]),
        }
        return render(request, "environments_app/token_issued.html", context)
    messages.success(request, done.sentence)
    return HttpResponseRedirect(done.link or reverse("approval-detail", args=[id]))


def _attempt(request: HttpRequest, id: int, use_case: Callable[[], Any], sentence: str) -> HttpResponse:
    return run_act(request, use_case, sentence, back=reverse("approval-detail", args=[id]))
