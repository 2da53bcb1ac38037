"""The pages of service tokens: those of all environments, and one with what can be changed of it."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.actions import Action
from audit_app.listing import list_paginator
from environments_app import services
from environments_app.authentication import principal_of
from environments_app.current import enter
from environments_app.environment_forms import NarrowForm, RotateForm
from environments_app.environment_pages import attempt
from environments_app.models import Environment, ServiceToken
from environments_app.policy import Principal, allows
from environments_app.token_watch import in_state, listed_tokens, state_of


class TokenFilterForm(forms.Form):
    """The filter of the list, as it stands in its address."""

    state = forms.ChoiceField(
        required=False,
        choices=[("", "All that stand"), ("expiring", "Ending soon"), ("unused", "Unused")],
    )

    @property
    def wanted(self) -> str:
        """The state that is asked for; one that cannot be is none."""
        return str(self.cleaned_data["state"]) if self.is_valid() else ""


class _TokenOrder:
    """The order of the list."""

    ordering_fields = {"id": "id"}
    default_ordering = "-id"
    filter_names = tuple(TokenFilterForm.base_fields)


@login_required
@require_GET
def token_list(request: HttpRequest) -> HttpResponse:
    """List the tokens of all environments whose tokens one may list."""
    form = TokenFilterForm(request.GET)
    paginator = list_paginator()
    found = in_state(listed_tokens(principal_of(request)), form.wanted)
    rows = paginator.paginate_queryset(found, request, view=_TokenOrder())
    context = {
        "rows": [{"token": token, "state": state_of(token)} for token in rows],
        "filters": form,
        "filtered": bool(form.wanted),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render(request, "environments_app/token_list.html", context)


@login_required
@require_GET
def token_detail(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Show a token, with what can be changed of it."""
    return _page(request, *_found(request, name, id))


@login_required
@require_POST
def token_narrow(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Take role, names, networks or time from a token."""
    actor, environment, token = _found(request, name, id)
    form = NarrowForm(request.POST)
    if form.is_valid():
        # What was left empty stays as it is.
        changes = {field: value for field, value in form.cleaned_data.items() if value}
        if attempt(form, lambda: services.narrow(actor=actor, token=token, **changes)) is not None:
            messages.success(request, "The token may do less now, from its next request on.")
            return redirect("token-detail", name=name, id=id)
    return _page(request, actor, environment, token, narrow_form=form)


@login_required
@require_POST
def token_rotate(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Issue a token's successor and show it, this once."""
    actor, environment, token = _found(request, name, id)
    form = RotateForm(request.POST)
    if form.is_valid():
        overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
        issued = attempt(form, lambda: services.rotate(actor=actor, token=token, overlap=overlap))
        if issued is not None:
            enter(request, environment)
            context = {
                "token": issued[0],
                "plaintext": issued[1],
                "environment": environment,
                "back_url": reverse("environment-detail", args=[name]),
            }
            return render(request, "environments_app/token_issued.html", context)
    return _page(request, actor, environment, token, rotate_form=form)


def _found(request: HttpRequest, name: str, id: int) -> tuple[Principal, Environment, ServiceToken]:
    actor = principal_of(request)
    environment = services.find_environment(actor=actor, name=name)
    return actor, environment, services.find_token(actor=actor, environment=environment, id=id)


def _page(
    request: HttpRequest, actor: Principal, environment: Environment, token: ServiceToken, **bound: forms.Form
) -> HttpResponse:
    enter(request, environment)
    may_change = token.is_live and allows(actor, Action.TOKEN_CHANGE, environment_id=environment.pk)
    may_rotate = may_change and allows(actor, Action.TOKEN_ISSUE, environment_id=environment.pk)
    context: dict[str, Any] = {
        "environment": environment,
        "token": token,
        "state": state_of(token),
        "successor": token.successors.first(),
        "narrow_form": NarrowForm() if may_change else None,
        "rotate_form": RotateForm() if may_rotate else None,
    }
    return render(
        request, "environments_app/token_detail.html", context | bound, status=422 if bound else 200
    )
