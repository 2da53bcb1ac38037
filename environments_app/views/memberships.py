"""The page on which the role, reach and end of a membership are changed; thin over the use case."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, require
from environments_app.environments import memberships as memberships_service
from environments_app.environments import service as environments_service
from environments_app.environments.memberships import BY_SINGLE_SIGN_ON
from environments_app.forms.environment import MemberChangeForm
from environments_app.models import Membership, Source
from environments_app.views.base import attempt, render_page


@login_required
@require_http_methods(["GET", "POST"])
def member_change(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Change what a membership allows, for what names and until when; what was not touched stays."""
    actor, membership = _found(request, name, id)
    form = MemberChangeForm(request.POST or None, initial=_initial(membership))
    if request.method == "POST" and form.is_valid():
        # The form was made of another state, which sending it would bring back.
        if form.cleaned_data["seen"] not in {"", state_digest(membership)}:
            messages.error(request, "Someone else changed this access. Reload the page and try again.")
            return redirect("member-change", name=name, id=id)
        changes = {name: form.cleaned_data[name] for name in form.changed_data if name != "seen"}
        changed = attempt(
            form, lambda: memberships_service.change_membership(actor=actor, membership=membership, **changes)
        )
        if changed is not None:
            messages.success(request, "Access changed." if changes else "No changes to save.")
            return redirect("environment-detail", name=name)
    return _page(request, membership, form)


def _found(request: HttpRequest, name: str, id: int) -> tuple[Principal, Membership]:
    actor = principal_of(request)
    environment = environments_service.find_environment(actor=actor, name=name)
    membership = memberships_service.find_membership(actor=actor, environment=environment, id=id)
    # A form that the use case would refuse is not offered.
    require(actor=actor, action=Action.MEMBER_CHANGE, environment=environment)
    return actor, membership


def _initial(membership: Membership) -> dict[str, Any]:
    values = {name: getattr(membership, name) for name in ("role", "prefix", "expires_at")}
    return {**values, "seen": state_digest(membership)}


def _page(request: HttpRequest, membership: Membership, form: MemberChangeForm) -> HttpResponse:
    environment = membership.environment
    context = {
        "environment": environment,
        "membership": membership,
        "form": form,
        "elsewhere": BY_SINGLE_SIGN_ON if membership.source == Source.SAML else "",
        "back_url": reverse("environment-detail", args=[environment.name]),
    }
    return render_page(request, "environments_app/member_change.html", context)
