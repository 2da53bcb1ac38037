"""The pages of service tokens: those of all environments, and one with what can be changed of it."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from core.pagination import KeysetPagination
from environments_app import acts
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, environments_for, require
from environments_app.environments import service as environments_service
from environments_app.forms.environment import AdminNarrowForm, AdminTokenForm, NarrowForm, RotateForm
from environments_app.forms.personal_token import PersonalTokenForm
from environments_app.models import Environment, PersonalToken, ServiceToken, TokenRole
from environments_app.sessions.service import revoke_token
from environments_app.tokens import rotation as token_rotation
from environments_app.tokens import service as tokens_service
from environments_app.tokens.expiry_alerts import in_state, listed_tokens, token_status
from environments_app.tokens.personal import issue_personal
from environments_app.views.base import act_page, attempt, form_of, render_page
from environments_app.views.client_download import install_line
from environments_app.views.profile import profile_page
from environments_app.views.program_releases import release_panel

_TOKENS_SHOWN: Final = 200
_MOST_ENVIRONMENTS: Final = 50
_ACTS: Final = ("narrow", "rotate", "revoke")


class TokenFilterForm(forms.Form):
    state = forms.ChoiceField(
        required=False, choices=[("", "Active"), ("expiring", "Expiring soon"), ("unused", "Unused")]
    )

    @property
    def chosen_state(self) -> str:
        return str(self.cleaned_data["state"]) if self.is_valid() else ""


class _TokenOrder:
    ordering_fields = {"id": "id"}
    default_ordering = "-id"
    filter_names = (*TokenFilterForm.base_fields, "environment")


@require_GET
def token_list(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    form = TokenFilterForm(request.GET)
    paginator = KeysetPagination()
    environment_name = request.GET.get("environment", "")
    everywhere = in_state(listed_tokens(actor), form.chosen_state)
    tokens = everywhere.filter(environment__name=environment_name) if environment_name else everywhere
    rows = paginator.paginate_queryset(tokens, request, view=_TokenOrder())
    context = {
        "rows": [{"token": token, "state": token_status(token)} for token in rows],
        "filters": form,
        "environment": environment_name,
        "elsewhere": everywhere.exclude(environment__name=environment_name).count()
        if environment_name
        else 0,
        "issue_in": _issue_in(actor, environment_name),
        "filtered": bool(form.chosen_state),
        "administers": allows(actor, Action.TOKEN_VIEW, environment_id=None),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render(request, "environments_app/token_list.html", context)


def _issue_in(actor: Principal, environment_name: str) -> list[Environment]:
    may = environments_for(actor, Action.TOKEN_ISSUE)
    environments = Environment.objects.filter(may) if may is not None else Environment.objects.none()
    environments = environments.filter(name=environment_name) if environment_name else environments
    return list(environments.order_by("position", "name")[:_MOST_ENVIRONMENTS])


@require_GET
def token_detail(request: HttpRequest, id: int, name: str = "") -> HttpResponse:
    return _page(request, *_found(request, id, name))


@require_POST
def token_narrow(request: HttpRequest, id: int, name: str = "") -> HttpResponse:
    actor, environment, token = _found(request, id, name)
    form = _narrow_form(environment)(request.POST)
    if form.is_valid():
        # What was left empty stays as it is.
        changes = {field: value for field, value in form.cleaned_data.items() if value}
        if attempt(form, lambda: token_rotation.narrow(actor=actor, token=token, **changes)) is not None:
            messages.success(request, "Token restricted.")
            return redirect(_address("token-detail", environment, id))
    return _page(request, actor, environment, token, narrow_form=form)


@require_POST
def token_rotate(request: HttpRequest, id: int, name: str = "") -> HttpResponse:
    """Issue a token's successor and show it, this once."""
    actor, environment, token = _found(request, id, name)
    form = RotateForm(request.POST)
    if form.is_valid():
        overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
        issued = attempt(form, lambda: token_rotation.rotate(actor=actor, token=token, overlap=overlap))
        if issued is not None:
            return _shown_once(request, environment, *issued)
    return _page(request, actor, environment, token, rotate_form=form)


@require_GET
def admin_tokens(request: HttpRequest) -> HttpResponse:
    """List the tokens that administer the installation, revoked ones as well."""
    return _installation(request, principal_of(request), AdminTokenForm())


@form_of("admin-tokens")
def admin_token_issue(request: HttpRequest) -> HttpResponse:
    """Issue a token that administers, and show it, this once."""
    actor = principal_of(request)
    require(actor=actor, action=Action.TOKEN_ISSUE, environment=None)
    form = AdminTokenForm(request.POST)
    if form.is_valid():
        fields = {**form.cleaned_data, "role": TokenRole.ADMIN}
        issued = attempt(form, lambda: tokens_service.issue(actor=actor, environment=None, **fields))
        if issued is not None:
            return _shown_once(request, None, *issued)
    return _installation(request, actor, form)


@form_of("profile", "#tokens")
def personal_token_issue(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    form = PersonalTokenForm(
        request.POST, environments=sorted({grant.environment_name for grant in actor.grants})
    )
    if form.is_valid():
        issued = attempt(form, lambda: issue_personal(actor=actor, **form.arguments))
        if issued is not None:
            token, text = issued
            back = reverse("profile") + "#tokens"
            return show_token(request, token, text, environment=token.environment, back_url=back)
    return profile_page(request, token_form=form)


@require_POST
def personal_token_revoke(request: HttpRequest, uuid: UUID) -> HttpResponse:
    actor = principal_of(request)
    token = PersonalToken.objects.select_related("user").filter(uuid=uuid, user__uuid=actor.uuid).first()
    if token is None:
        messages.info(request, "You have no such token.")
    else:
        revoke_token(actor=actor, token=token)
        messages.success(request, "Token revoked.")
    return redirect(reverse("profile") + "#tokens")


def _installation(request: HttpRequest, actor: Principal, form: AdminTokenForm) -> HttpResponse:
    require(actor=actor, action=Action.TOKEN_VIEW, environment=None)
    tokens = ServiceToken.objects.filter(environment=None).order_by("revoked_at", "-id")[:_TOKENS_SHOWN]
    context = {"rows": [{"token": token, "state": token_status(token)} for token in tokens], "form": form}
    return render_page(request, "environments_app/admin_tokens.html", context)


def _shown_once(
    request: HttpRequest, environment: Environment | None, token: ServiceToken, plaintext: str
) -> HttpResponse:
    return show_token(request, token, plaintext, environment=environment, back_url=_list_of(token))


def show_token(
    request: HttpRequest,
    token: ServiceToken | PersonalToken,
    plaintext: str,
    *,
    environment: Environment | None,
    back_url: str,
) -> HttpResponse:
    context = {
        "token": token,
        "plaintext": plaintext,
        "environment": environment,
        "back_url": back_url,
        "install": install_line(request.build_absolute_uri("/").rstrip("/")),
    }
    return render_page(request, "environments_app/token_issued.html", context)


def _narrow_form(environment: Environment | None) -> type[NarrowForm]:
    return NarrowForm if environment else AdminNarrowForm


def _address(page: str, environment: Environment | None, id: int) -> str:
    """Return a page of a token of an environment, or of the installation's."""
    if environment:
        return reverse(page, args=[environment.name, id])
    return reverse(f"admin-{page}", args=[id])


def _found(request: HttpRequest, id: int, name: str) -> tuple[Principal, Environment | None, ServiceToken]:
    """Return the token of an environment, or without a name one of the installation."""
    actor = principal_of(request)
    environment = environments_service.find_environment(actor=actor, name=name) if name else None
    return actor, environment, tokens_service.find_token(actor=actor, environment=environment, id=id)


def _page(
    request: HttpRequest,
    actor: Principal,
    environment: Environment | None,
    token: ServiceToken,
    **bound: forms.Form,
) -> HttpResponse:
    place = environment.pk if environment else None
    may_change = token.is_live and allows(actor, Action.TOKEN_CHANGE, environment_id=place)
    may_rotate = may_change and allows(actor, Action.TOKEN_ISSUE, environment_id=place)
    successor = token.successors.first()
    issued = environment if token.trust_uuid is None and token.parent_uuid is None else None
    releases = (
        release_panel(actor, issued, programs=[token.uuid], program=f"token-{token.pk}") if issued else {}
    )
    if not token.is_live:
        releases.pop("release_url", None)
    context: dict[str, Any] = {
        **releases,
        "environment": environment,
        "token": token,
        "state": token_status(token),
        "successor": successor,
        "successor_url": _address("token-detail", environment, successor.pk) if successor else "",
        "urls": {act: _address(f"token-{act}", environment, token.pk) for act in _ACTS},
        "may_revoke": not token.revoked_at and allows(actor, Action.TOKEN_REVOKE, environment_id=place),
        "narrow_form": _narrow_form(environment)() if may_change else None,
        "rotate_form": RotateForm() if may_rotate else None,
    }
    return render_page(request, "environments_app/token_detail.html", context | bound, refused=bool(bound))


def _of_act(request: HttpRequest, *, id: int, name: str = "") -> ServiceToken:
    return _found(request, id, name)[2]


def _list_of(token: ServiceToken) -> str:
    place = token.environment
    return reverse("environment-detail", args=[place.name]) if place else reverse("admin-tokens")


ACT_PAGES: Final = {act.slug: act_page(act, _of_act, back=_list_of) for act in acts.TOKENS if act.on_page}
