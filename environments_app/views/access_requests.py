"""The pages of access requests: submit and answer; thin over the use cases."""

from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app import acts
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import user_principal
from environments_app.forms.environment import AskForm, GrantForm
from environments_app.models import AccessRequest, Approval, ApprovalState, Environment, Membership
from environments_app.views.base import act_page, attempt, render_page
from environments_app.views.environments import shown_role


@require_http_methods(["GET", "POST"])
def request_new(request: HttpRequest) -> HttpResponse:
    """Ask for a role in an environment, which one need not see."""
    form = AskForm(request.POST or None, initial={"environment": request.GET.get("environment", "")[:63]})
    if request.method == "POST" and form.is_valid():
        actor = principal_of(request)
        access_request = attempt(form, lambda: access_requests.submit(actor=actor, **form.cleaned_data))
        if access_request is not None:
            messages.success(request, "Request submitted.")
            return redirect("access-request-detail", id=access_request.pk)
    return render_page(request, "environments_app/access_request_form.html", {"form": form})


@require_GET
def request_detail(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    return _detail(request, actor, access_requests.find_request(actor=actor, id=id))


@require_POST
def request_grant(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    access_request = access_requests.find_request(actor=actor, id=id)
    form = GrantForm(access_request, request.POST)
    if form.is_valid():
        granted = attempt(
            form, lambda: decisions.approve(actor=actor, request=access_request, **form.cleaned_data)
        )
        if granted is not None:
            messages.success(request, f"{access_request.requester.username} has the access now.")
            return redirect("access-request-detail", id=id)
    return _detail(request, actor, access_request, form=form)


def _detail(
    request: HttpRequest, actor: Principal, asked: AccessRequest, form: GrantForm | None = None
) -> HttpResponse:
    # The page does not reveal the environment to a user who may not see it.
    visible = asked.environment and allows(
        actor, Action.ENVIRONMENT_VIEW, environment_id=asked.environment.pk
    )
    place = asked.environment if visible else None
    may_answer = decisions.may_answer(actor, asked)
    context: dict[str, Any] = {
        "asked": asked,
        "environment": place,
        "own": decisions.is_own(actor, asked),
        "verified": bool(verified_rows([asked])),
        "form": form or (GrantForm(asked) if may_answer else None),
        "standing": _standing(asked, place) if may_answer and place else None,
        "second": _second(asked),
        "membership": Membership.objects.filter(uuid=asked.membership_uuid).first()
        if asked.membership_uuid
        else None,
    }
    template = "environments_app/access_request_detail.html"
    return render_page(request, template, context, refused=form is not None)


def _standing(access_request: AccessRequest, environment: Environment) -> str:
    """Return in words what the person may do there already."""
    grants = user_principal(access_request.requester).grants
    return ", ".join(
        f"{shown_role(grant)} under {grant.prefix}/" if grant.prefix else shown_role(grant)
        for grant in grants
        if grant.environment_id == environment.pk
    )


def _second(access_request: AccessRequest) -> Approval | None:
    """Return a manager's wish to grant this, which waits for another person."""
    rows = Approval.objects.filter(object_uuid=access_request.uuid, state=ApprovalState.PENDING)
    return (
        next(iter(verified_rows(rows.select_related("environment"))), None)
        if access_request.is_open
        else None
    )


def _find(request: HttpRequest, *, id: int) -> AccessRequest:
    return access_requests.find_request(actor=principal_of(request), id=id)


def _comment(request: HttpRequest) -> dict[str, Any]:
    return {"comment": request.POST.get("comment", "")}


ACT_PAGES: Final = {
    act.slug: act_page(
        act,
        _find,
        back=lambda asked: reverse("access-request-detail", args=[asked.pk]),
        arguments=_comment if act.name == "refuse" else None,
    )
    for act in acts.ACCESS_REQUESTS
    if act.on_page
}
