"""The pages of environments: members, tokens and settings; thin over the use cases."""

from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app import acts
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import (
    Grant,
    Principal,
    allows,
    environments_for,
    require,
    visible_environments,
)
from environments_app.environments import memberships as memberships_service
from environments_app.environments import service as environments_service
from environments_app.environments.deletion import deleted_environments
from environments_app.environments.service import free_colour
from environments_app.errors import InvalidField
from environments_app.forms.environment import EnvironmentForm, MemberForm, SettingsForm, TokenForm
from environments_app.interfaces import panels_of
from environments_app.models import Environment, Membership, Role, ServiceToken, Source, User
from environments_app.tokens import service as tokens_service
from environments_app.tokens.expiry_alerts import token_status
from environments_app.users.accounts import find_holder
from environments_app.users.password_backend import named_user
from environments_app.views.base import (
    act_page,
    ask_administrator,
    attempt,
    enter_environment,
    form_of,
    render_page,
)
from environments_app.views.tokens import show_token

_RIGHTS = {
    "members": Action.MEMBER_GRANT,
    "member_change": Action.MEMBER_CHANGE,
    "member_revoke": Action.MEMBER_REVOKE,
    "tokens": Action.TOKEN_ISSUE,
    "token_revoke": Action.TOKEN_REVOKE,
    "settings": Action.ENVIRONMENT_UPDATE,
    "notifications": Action.NOTIFICATION_VIEW,
    "import": Action.SECRET_IMPORT,
}


_INVITES: Final = "Access for people who have an account. An administrator invites others."
_MANAGERS_SHOWN: Final = 5
_SUGGESTED: Final = 100


@require_GET
def environment_list(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    environments = Environment.objects.filter(visible_environments(actor)).order_by("position", "name")
    roles = {
        grant.environment_id: shown_role(grant)
        for grant in sorted(actor.grants, key=lambda grant: grant.role.rank)
    }
    secrets, members = import_string(settings.KEEPER_ENVIRONMENT_COUNTER)(actor), _member_counts(actor)
    context = {
        "rows": [
            {
                "environment": environment,
                "url": reverse("environment-detail", args=[environment.name]),
                "secrets_url": f"{reverse('secret-list')}?environment={environment.name}",
                "role": roles.get(environment.pk, ""),
                "secrets": secrets.get(environment.pk, {"count": 0, "changed_at": None}),
                "members": members.get(environment.pk),
            }
            for environment in environments
        ],
        "can_create": allows(actor, Action.ENVIRONMENT_CREATE, environment_id=None),
        "create_url": reverse("environment-new"),
        "deleted": deleted_environments(actor).exists(),
    }
    return render(request, "environments_app/environment_list.html", context)


def _member_counts(actor: Principal) -> dict[int, int]:
    """Return how many memberships there are in the environments whose members the actor may see."""
    places = environments_for(actor, Action.MEMBER_VIEW)
    seen = Environment.objects.filter(places) if places is not None else Environment.objects.none()
    counted = seen.annotate(
        members=Count("memberships", filter=~Q(memberships__expires_at__lte=timezone.now()))
    )
    return dict(counted.order_by().values_list("pk", "members"))


@require_http_methods(["GET", "POST"])
def environment_new(request: HttpRequest) -> HttpResponse:
    """Create an environment; its creator becomes its manager."""
    form = EnvironmentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        created = attempt(
            form,
            lambda: environments_service.create_environment(
                actor=principal_of(request),
                **form.cleaned_data
                | {"colour": form.cleaned_data["colour"] or free_colour(form.cleaned_data["name"])},
            ),
        )
        if created is not None:
            messages.success(request, f"Environment {created.name} created.")
            _warn(request, created)
            return redirect("environment-detail", name=created.name)
    context = {
        "form": form,
        "cancel_url": reverse("environment-list"),
        "can_create": allows(principal_of(request), Action.ENVIRONMENT_CREATE, environment_id=None),
    }
    return render_page(request, "environments_app/environment_form.html", context)


@require_GET
def environment_detail(request: HttpRequest, name: str) -> HttpResponse:
    return _detail(request, environments_service.find_environment(actor=principal_of(request), name=name))


@form_of("environment-detail", "#settings")
def environment_update(request: HttpRequest, name: str) -> HttpResponse:
    actor, environment = enter_environment(request, name)
    form = SettingsForm(request.POST)
    if form.is_valid():
        changed = attempt(
            form,
            lambda: environments_service.update_environment(
                actor=actor, environment=environment, **form.cleaned_data
            ),
        )
        if changed is not None:
            messages.success(request, "Settings saved.")
            _warn(request, changed)
            return redirect(f"{reverse('environment-detail', args=[name])}#settings")
    return _detail(request, environment, settings_form=form)


@sensitive_post_parameters("proof-password")
@form_of("environment-detail", "#members")
def member_grant(request: HttpRequest, name: str) -> HttpResponse:
    actor, environment = enter_environment(request, name)
    # Before any name is looked up: the answer would reveal whether the user or group exists.
    require(actor=actor, action=Action.MEMBER_GRANT, environment=environment)
    form = MemberForm(request.POST, holders=_holders(actor))
    granted = form.is_valid() and attempt(
        form, lambda: _grant(principal_of(request), environment, form.cleaned_data), request=request
    )
    if granted:
        who, role = granted.user or granted.group, granted.get_role_display()
        messages.success(request, f"Access granted: {who}, {role} in {environment.name}.")
        if granted.user and not granted.user.is_active:
            messages.warning(request, f"The account {who} is disabled: it reads nothing until it is enabled.")
        _warn_of_empty(request, environment, granted.prefix)
        return redirect("environment-detail", name=name)
    return _detail(request, environment, member_form=form)


@sensitive_post_parameters("proof-password")
@form_of("environment-detail", "#tokens")
def token_issue(request: HttpRequest, name: str) -> HttpResponse:
    """Issue a service token and show it, this once."""
    _, environment = enter_environment(request, name)
    form = TokenForm(request.POST)
    if form.is_valid():
        issued = attempt(
            form,
            lambda: tokens_service.issue(
                actor=principal_of(request), environment=environment, **form.cleaned_data
            ),
            request=request,
        )
        if issued is not None:
            _warn_of_empty(request, environment, issued[0].prefix)
            back = f"{reverse('environment-detail', args=[name])}#tokens"
            return show_token(request, *issued, environment=environment, back_url=back)
    return _detail(request, environment, token_form=form)


def shown_role(grant: Grant) -> str:
    return f"{grant.held.label} (suspended)" if grant.held else grant.role.label


def _warn_of_empty(request: HttpRequest, environment: Environment, prefix: str) -> None:
    """Say if a path names no secret: it may be mistyped, and its holder would find nothing."""
    if not prefix:
        return
    if environment.pk not in import_string(settings.KEEPER_ENVIRONMENT_COUNTER)(
        principal_of(request), prefix
    ):
        text = f"No secret of {environment.name} is under {prefix}/ yet. Check the path."
        messages.warning(request, text)


def _warn(request: HttpRequest, saved: Environment) -> None:
    for warning in saved.warnings:
        messages.warning(request, warning)


def _grant(actor: Principal, environment: Environment, fields: dict[str, Any]) -> Membership:
    name = fields.pop("username")
    # An address that one may see anyway names its account.
    if "@" in name and allows(actor, Action.USER_VIEW, environment_id=None):
        people = list(User.objects.filter(email__iexact=name).values_list("username", flat=True)[:2])
        name = f"person:{people[0]}" if len(people) == 1 and named_user(name) is None else name
    try:
        user, group = find_holder(name, field="username")
    except InvalidField as error:
        if "not found" not in error.reason:
            raise
        raise InvalidField("username", _unknown(actor, environment, error.reason)) from error
    return memberships_service.grant(actor=actor, environment=environment, user=user, group=group, **fields)


def _unknown(actor: Principal, environment: Environment, reason: str) -> str:
    """Say where people are added."""
    if not allows(actor, Action.USER_CREATE, environment_id=None):
        return f"{reason} An administrator invites people. {ask_administrator()}"
    address = f"{reverse('people')}?{urlencode({'invite_to': environment.name})}"
    return format_html('{} <a href="{}">Invite a person</a>', reason, address)


def _holders(actor: Principal) -> list[str]:
    """Return whom the form suggests: all people to an administrator, else the members whom a manager sees.

    The list is no directory of the installation.
    """
    people: QuerySet[Any, str]
    groups: QuerySet[Any, str]
    if actor.sees_installation:
        people = User.objects.filter(is_active=True).order_by("username").values_list("username", flat=True)
        groups = Group.objects.order_by("name").values_list("name", flat=True)
    else:
        places = environments_for(actor, Action.MEMBER_VIEW)
        rows = Membership.objects.filter(environment__in=Environment.objects.filter(places or Q(pk__in=())))
        people = rows.exclude(user=None).order_by("user__username").values_list("user__username", flat=True)
        groups = rows.exclude(group=None).order_by("group__name").values_list("group__name", flat=True)
    return [*people.distinct()[:_SUGGESTED], *(f"group:{name}" for name in groups.distinct()[:_SUGGESTED])]


def _detail(request: HttpRequest, environment: Environment, **bound: forms.Form) -> HttpResponse:
    actor = principal_of(request)
    can = {name: allows(actor, action, environment_id=environment.pk) for name, action in _RIGHTS.items()}
    can["delete"] = allows(actor, Action.ENVIRONMENT_DELETE, environment_id=environment.pk)
    can["invite"] = allows(actor, Action.USER_CREATE, environment_id=None)
    can["clone"] = allows(actor, Action.ENVIRONMENT_CREATE, environment_id=None)
    name = environment.name
    context: dict[str, Any] = {
        "environment": environment,
        "can": can,
        "members": _members(environment) if can["members"] else [],
        "tokens": _tokens(environment) if can["tokens"] else [],
        "urls": {
            "update": reverse("environment-update", args=[name]),
            "member_grant": reverse("member-grant", args=[name]),
            "token_issue": reverse("token-issue", args=[name]),
            "notifications": reverse("notifications", args=[name]),
        },
        "member_form": MemberForm(holders=_holders(actor)) if can["members"] else None,
        "who_invites": "" if can["invite"] else f"{_INVITES} {ask_administrator()}",
        "token_form": TokenForm() if can["tokens"] else None,
        "settings_form": SettingsForm(initial=SettingsForm.initial_of(environment))
        if can["settings"]
        else None,
        "panels": panels_of(environment) if can["settings"] else [],
    }
    if not can["members"]:
        context["standing"] = _standing(actor, environment)
    return render_page(
        request, "environments_app/environment_detail.html", context | bound, refused=bool(bound)
    )


def _standing(actor: Principal, environment: Environment) -> dict[str, Any]:
    """Return what somebody may do here who manages nothing, until when, and who does manage."""
    roles = [grant for grant in actor.grants if grant.environment_id == environment.pk]
    rows = Membership.objects.filter(environment=environment).select_related("user", "group")
    active = [row for row in verified_rows(rows.order_by("id")) if not row.is_expired]
    managers = [row.user or row.group for row in active if row.role == Role.MANAGER and not row.prefix]
    own = [row for row in active if row.user is not None and row.user.uuid == actor.uuid]
    return {
        "roles": [
            f"{shown_role(grant)} under {grant.prefix}/" if grant.prefix else shown_role(grant)
            for grant in roles
        ],
        "ends": min((row.expires_at for row in own if row.expires_at), default=None),
        "managers": managers[:_MANAGERS_SHOWN],
    }


def _members(environment: Environment) -> list[Membership]:
    rows = list(
        Membership.objects.filter(environment=environment).select_related("user", "group").order_by("id")
    )
    for row in rows:
        if row.source != Source.SAML:
            row.change_url = reverse("member-change", args=[environment.name, row.pk])  # type: ignore[attr-defined]  # for the template alone
        row.revoke_url = reverse("member-revoke", args=[environment.name, row.pk])  # type: ignore[attr-defined]  # for the template alone
    return rows


def _tokens(environment: Environment) -> list[ServiceToken]:
    rows = list(
        ServiceToken.objects.filter(environment=environment, trust_uuid=None, parent_uuid=None)
        .select_related("created_by")
        .order_by("revoked_at", "id")
    )
    for row in rows:
        row.state = token_status(row)  # type: ignore[attr-defined]  # for the template alone
        row.revoke_url = reverse("token-revoke", args=[environment.name, row.pk])  # type: ignore[attr-defined]  # for the template alone
    return rows


def _membership(request: HttpRequest, *, name: str, id: int) -> Membership:
    actor, environment = enter_environment(request, name)
    return memberships_service.find_membership(actor=actor, environment=environment, id=id)


MEMBER_ACT_PAGES: Final = {
    act.slug: act_page(
        act, _membership, back=lambda row: reverse("environment-detail", args=[row.environment.name])
    )
    for act in acts.MEMBERSHIPS
}
