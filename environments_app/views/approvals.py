"""The pages of approvals: what waits for me, what I asked for, and one request in detail."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app import acts
from environments_app.access_requests import service as access_requests
from environments_app.approvals import applying, history
from environments_app.approvals import service as approvals
from environments_app.approvals.access_proposals import duration_words
from environments_app.approvals.approvers import approvals_that_count, lapsed_names
from environments_app.authentication.drf import principal_of
from environments_app.errors import ApprovalVoid, ConfirmationNeeded, Conflict, InvalidField
from environments_app.interfaces import READERS_DAYS
from environments_app.models import Approval, ApprovalState
from environments_app.views.base import act_page, confirm_first, render_page, show_accounts

_SHOWN: Final = 50
_OWN: Final = 20
_READERS: Final = 50
_REQUESTER: Final = attrgetter("requester_uuid")


@require_GET
def approval_list(request: HttpRequest) -> HttpResponse:
    """Show what waits for this person, what they may carry out, and the latest requests."""
    actor = principal_of(request)
    environment_name = request.GET.get("environment", "")
    latest = approvals.visible_approvals(actor).order_by("-id")
    latest = latest.filter(environment__name=environment_name) if environment_name else latest
    waiting = approvals.waiting_for(actor)
    ready = approvals.in_state(approvals.resolved_for(actor), ApprovalState.APPROVED)
    asking = access_requests.waiting_for(actor)
    context: dict[str, Any] = {
        "waiting": _narrowed(waiting, environment_name),
        "ready": _narrowed(ready, environment_name),
        "latest": verified_rows(latest[:_SHOWN]),
        "asking": [row for row in asking if environment_name in {"", row.environment_name}],
        "own_requests": verified_rows(access_requests.own_requests(actor)[:_OWN]),
        "environment": environment_name,
    }
    shown = sum(len(context[name]) for name in ("waiting", "ready", "asking"))
    # The menu counts what waits in all environments.
    context["elsewhere"] = len(waiting) + len(ready) + len(asking) - shown
    rows = [row for name in ("waiting", "ready", "latest") for row in context[name]]
    show_accounts(rows, _REQUESTER)
    return render(request, "environments_app/approval_list.html", context)


def _narrowed(rows: list[Approval], environment: str) -> list[Approval]:
    return [row for row in rows if environment in {"", row.environment.name}]


@require_GET
def approval_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show one request: requester, reason and act, masked, and the user's possible actions."""
    actor = principal_of(request)
    approval = approvals.find_approval(actor=actor, id=id)
    own = approval.requester_uuid == actor.uuid
    approvals_so_far = approvals_that_count(approval)
    entries = history.entries_of(approval)
    show_accounts([approval], _REQUESTER)
    show_accounts(entries, attrgetter("author_uuid"))
    shows_value, decides = approval.action == Action.SECRET_REVEAL, approvals.may_approve(actor, approval)
    context = {
        "approval": approval,
        "environment": approval.environment,
        "verified": bool(verified_rows([approval])),
        "may_decide": decides,
        "obstacle": approvals.obstacle(actor, approval),
        "changed": approvals.changed_since(approval),
        "may_comment": approval.is_live and (own or approvals.is_approver(actor, approval)),
        "entries": entries,
        "given": approvals_so_far,
        "lapsed": lapsed_names(approval) if approval.is_live else [],
        "last_approval": len(approvals_so_far) + 1 >= approval.environment.approvals_needed,
        "max_text": history.MAX_TEXT,
        "may_withdraw": own and approval.is_live,
        "may_explain": own and approval.is_live and approval.state == ApprovalState.PENDING,
        "may_carry_out": own and approval.is_live and approval.state == ApprovalState.APPROVED,
        "object_url": approvals.object_url(approval),
        "names": approvals.changed_names(actor, approval),
        "shows_value": shows_value,
        "readers": approvals.readers(actor, approval)[:_READERS] if shows_value and decides else None,
        "readers_days": READERS_DAYS,
        "read_within": duration_words(settings.KEEPER_READ_APPROVAL_MINUTES),
        "applies": not approval.held and not applying.is_shown_once(approval),
        "approvers": approvals.possible_approvers(approval) if own else [],
        "max_comment": approvals.MAX_COMMENT,
    }
    return render_page(request, "environments_app/approval_detail.html", context)


@require_POST
def approval_approve(request: HttpRequest, id: int) -> HttpResponse:
    """Approve a request, and apply it unless it is held."""
    actor = principal_of(request)
    approval = approvals.find_approval(actor=actor, id=id)
    comment = request.POST.get("comment", "").strip()
    try:
        applied = applying.approve_and_apply(actor=actor, approval=approval, comment=comment)
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
        messages.success(request, f"Approved. {approval.requester_name} can now apply the change.")
    return redirect("approval-detail", id=id)


@sensitive_variables()
@require_POST
def approval_carry_out(request: HttpRequest, id: int) -> HttpResponse:
    """Do what was approved; a token or a guarded value that comes of it is shown this once."""
    actor = principal_of(request)
    approval = approvals.find_approval(actor=actor, id=id)
    try:
        result = approvals.carry_out(actor=actor, approval=approval)
    except ApprovalVoid as error:
        messages.error(request, str(error))
        return redirect("approval-detail", id=id)
    except ConfirmationNeeded:
        return confirm_first(request, back=reverse("approval-detail", args=[id]))
    if approval.action == Action.SECRET_REVEAL:
        context: dict[str, Any] = {
            "name": approval.object_name,
            "sentence": result.sentence,
            "value": result.plaintext,
        }
        context["object_url"] = approvals.object_url(approval)
        return render(request, "environments_app/value_shown.html", context)
    if result.plaintext:
        context = {
            "token": {"name": approval.object_name, "role": approval.arguments.get("role", "")},
            "plaintext": result.plaintext,
            "environment": approval.environment,
            "back_url": reverse("approval-detail", args=[id]),
        }
        return render(request, "environments_app/token_issued.html", context)
    messages.success(request, result.sentence)
    return HttpResponseRedirect(result.link or reverse("approval-detail", args=[id]))


def _find(request: HttpRequest, *, id: int) -> Approval:
    return approvals.find_approval(actor=principal_of(request), id=id)


_ARGUMENTS: Final[dict[str, Callable[[HttpRequest], dict[str, Any]]]] = {
    "refuse": lambda request: {"comment": request.POST.get("comment", "").strip()},
    "comment": lambda request: {"text": request.POST.get("text", "")},
    "explain": lambda request: {"reason": request.POST.get("reason", ""), "held": "held" in request.POST},
}
ACT_PAGES: Final = {
    act.slug: act_page(
        act,
        _find,
        back=lambda approval: reverse("approval-detail", args=[approval.pk]),
        arguments=_ARGUMENTS.get(act.name),
    )
    for act in acts.APPROVALS
    if act.on_page
}
