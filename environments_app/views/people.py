"""The pages of people, for administrators: accounts, their roles, and what ends their access."""

from typing import Final
from urllib.parse import urljoin

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from core.pagination import KeysetPagination
from core.workers import nudge
from environments_app import acts
from environments_app.authentication import lockout
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.principals import living_memberships
from environments_app.errors import Conflict, InvalidField, Invisible, Suspended
from environments_app.forms.people import NewPersonForm, PersonForm, add_person
from environments_app.models import GroupMember, ProvisionedUser, ScimClient, User
from environments_app.sessions.service import active_sessions
from environments_app.users import accounts
from environments_app.users.invitations import offered
from environments_app.users.password_backend import named_user
from environments_app.users.password_links import SENDING, can_send, invitation_of
from environments_app.views.base import act_page, attempt, form_of, render_page


class _Order:
    ordering_fields = {"username": "username"}
    default_ordering = "username"
    filter_names = ("q",)


@require_GET
def people(request: HttpRequest) -> HttpResponse:
    _administrator(request)
    return _list(request, NewPersonForm(initial={"environments": [request.GET.get("invite_to", "")]}))


@sensitive_post_parameters("proof-password")
@sensitive_variables("password")
@form_of("people")
def person_add(request: HttpRequest) -> HttpResponse:
    """Create an account with its access; a temporary password is shown this once."""
    _administrator(request)
    form = NewPersonForm(request.POST)
    if not form.is_valid():
        return _list(request, form)
    refusals = (Conflict, InvalidField, Suspended)
    created = attempt(
        form,
        lambda: add_person(actor=principal_of(request), **form.cleaned_data),
        refusals=refusals,
        request=request,
    )
    if created is None:
        return _list(request, form)
    nudge(SENDING)
    context = {
        **created._asdict(),
        "invitation": invitation_of(created.account),
        "sign_in_url": urljoin(settings.KEEPER_URL or request.build_absolute_uri(), reverse("sign-in")),
    }
    return render(request, "environments_app/person_added.html", context)


@require_GET
def person(request: HttpRequest, username: str) -> HttpResponse:
    """Show an account: who it is, its access, its sessions, and what can be changed."""
    actor = _administrator(request)
    account = _found(username)
    return _page(request, actor, account, _form(account))


@require_POST
def person_update(request: HttpRequest, username: str) -> HttpResponse:
    actor, account = _administrator(request), _found(username)
    form = _form(account, request.POST)
    if form.is_valid():
        changed = attempt(form, lambda: accounts.update_user(actor=actor, user=account, **form.cleaned_data))
        if changed is not None:
            messages.success(request, "Account saved.")
            return redirect("person", username=username)
    return _page(request, actor, account, form)


def _form(account: User, data: QueryDict | None = None) -> PersonForm:
    """Return the form of an account, in which nothing changes that its SCIM client keeps."""
    form = PersonForm(data, initial=PersonForm.initial_of(account))
    if ProvisionedUser.managing(account) is not None:
        for name in accounts.PROVIDED:
            form.fields[name].disabled = True
    return form


def _administrator(request: HttpRequest) -> Principal:
    actor = principal_of(request)
    require(actor=actor, action=Action.USER_VIEW, environment=None)
    return actor


def _found(username: str) -> User:
    user = named_user(username)
    if user is None:
        raise Invisible("User not found.")
    return user


def _list(request: HttpRequest, form: forms.Form) -> HttpResponse:
    text = request.GET.get("q", "").strip()
    matching = Q(username__icontains=text) | Q(display_name__icontains=text) | Q(email__icontains=text)
    paginator = KeysetPagination()
    rows = paginator.paginate_queryset(User.objects.filter(matching), request, view=_Order())
    context = {
        "rows": rows,
        "locked": lockout.locked_among(rows),
        "q": text,
        "form": form,
        "can_send": can_send(),
        "form_open": form.is_bound or "invite_to" in request.GET,
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render_page(request, "environments_app/people.html", context)


def _page(request: HttpRequest, actor: Principal, user: User, form: forms.Form) -> HttpResponse:
    groups = GroupMember.objects.filter(user=user).select_related("user", "group")
    invitation = invitation_of(user)
    context = {
        "account": user,
        "locked_until": lockout.locked_until(user),
        "verified": bool(verified_rows([user])),
        "own": actor.uuid == user.uuid,
        "provisioned": ProvisionedUser.managing(user),
        "names_alone": not user.is_active and accounts.returns_suspended(user),
        "hands_over": (
            actor.uuid != user.uuid
            and not acts.HAND_OVER.objection(actor, user)
            and ScimClient.objects.filter(removed_at=None).exists()
        ),
        "form": form,
        "grants": living_memberships(user),
        "groups": sorted(place.group.name for place in verified_rows(groups)),
        "sessions": list(active_sessions(user)),
        "invitation": invitation,
        "invited_to": offered(invitation) if invitation and not invitation.ended_at else [],
        "can_send": can_send(),
    }
    return render_page(request, "environments_app/person.html", context)


def _account(request: HttpRequest, *, username: str) -> User:
    _administrator(request)
    return _found(username)


ACT_PAGES: Final = {
    act.slug: act_page(act, _account, back=lambda user: reverse("person", args=[user.username]))
    for act in acts.USERS
    if act.on_page
}
