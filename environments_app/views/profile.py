"""The user's own pages: the profile with sessions and password, and the confirmation of identity."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME, update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from core.clock import ZONE
from environments_app.authentication.drf import principal_of
from environments_app.authentication.pending import CONNECT
from environments_app.authentication.sign_in import confirm_session, mark_confirmed, provider_subject
from environments_app.errors import InvalidField
from environments_app.forms.authentication import ConfirmForm, OwnForm, PasswordForm
from environments_app.forms.personal_token import PersonalTokenForm
from environments_app.models import OIDC_ISSUER, SAML_ISSUER, ScimClient, User
from environments_app.oidc.providers import enabled_providers
from environments_app.sessions.service import active_sessions, active_tokens, end_other_sessions, end_session
from environments_app.sessions.store import stored_key
from environments_app.single_sign_on.answers import start_address
from environments_app.single_sign_on.connected import (
    connect,
    connected_of,
    disconnect,
    label_of,
    offered_in,
    withdraw_offer,
)
from environments_app.users.accounts import set_own_name, set_password
from environments_app.users.password_links import choose_reset, resets_are_on
from environments_app.users.preferences import choose_time_zone, time_zones
from environments_app.views.base import ask_proof, confirm_first, render_limited, run_act
from environments_app.views.sign_in import target_of


@require_GET
def profile(request: HttpRequest) -> HttpResponse:
    return profile_page(request)


@sensitive_post_parameters("current", "password", "again")
@require_http_methods(["GET", "POST"])
def password_change(request: HttpRequest) -> HttpResponse:
    """Replace the user's own password, which ends their other sessions; a temporary one has a page here."""
    user = own_account(request)
    if not user.has_usable_password() or (request.method == "GET" and user.temporary_since is None):
        return redirect("profile")
    form = PasswordForm(request, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        was_temporary = user.temporary_since is not None
        # The form checked the current password and the second factor just now.
        actor = principal_of(request).proven()
        try:
            changed = set_password(actor=actor, user=user, password=form.cleaned_data["password"])
        except InvalidField as error:
            form.add_error("password", error.reason)
        else:
            # Every session has ended, this one too: it continues under a new id.
            update_session_auth_hash(request, changed)
            mark_confirmed(request)
            messages.success(request, "Password changed. You were signed out everywhere else.")
            # Whose account was new has nothing more to do in its settings.
            return redirect(settings.LOGIN_REDIRECT_URL if was_temporary else _part("password"))
    if user.temporary_since is not None:
        return _answer(request, "environments_app/password_temporary.html", {"form": form}, form)
    return profile_page(request, form)


@require_POST
def session_end(request: HttpRequest) -> HttpResponse:
    key = request.POST.get("session", "")
    if key == stored_key(request.session.session_key or ""):
        messages.info(request, "This is your current session. Use Sign out to end it.")
    elif end_session(actor=principal_of(request), user=own_account(request), key=key):
        messages.success(request, "Session signed out.")
    else:
        messages.info(request, "That session has already ended.")
    return redirect(_part("sessions"))


@require_POST
def sessions_end_others(request: HttpRequest) -> HttpResponse:
    current_key = stored_key(request.session.session_key or "")
    count = end_other_sessions(actor=principal_of(request), user=own_account(request), except_key=current_key)
    messages.success(request, f"Signed out of {count} other session{'' if count == 1 else 's'}.")
    return redirect(_part("sessions"))


@sensitive_post_parameters("proof-password")
@require_http_methods(["GET", "POST"])
def sign_in_connect(request: HttpRequest) -> HttpResponse:
    """Show whose sign-in a provider vouched for, and connect it on the person's word."""
    offered = offered_in(request)
    if offered is None:
        messages.info(request, "No sign-in waits to be connected. Choose one below.")
        return redirect(_part("sign-ins"))
    if request.POST.get("offered", offered.key) != offered.key:
        messages.warning(request, "Another sign-in was offered meanwhile, in another tab. Look at it first.")
        return redirect("sign-in-connect")
    proof = ask_proof(request)
    if proof is None and not principal_of(request).confirmed:
        return confirm_first(request, back=reverse("sign-in-connect"))
    if request.method == "GET" or proof is not None:
        context, refused = {"offered": offered, "proof": proof}, bool(proof and proof.errors)
        template = "environments_app/sign_in_connect.html"
        return render(request, template, context, status=422 if refused else 200)
    actor, user = principal_of(request), own_account(request)
    withdraw_offer(request)
    return run_act(
        request,
        lambda: connect(actor=actor, user=user, offered=offered),
        f"{offered.provider} connected. You can sign in with it from now on.",
        back=_part("sign-ins"),
    )


@require_POST
def sign_in_disconnect(request: HttpRequest) -> HttpResponse:
    uuid, subject = request.POST.get("sign_in", ""), provider_subject(request)
    actor, user = principal_of(request), own_account(request)
    key = stored_key(request.session.session_key or "")
    return run_act(
        request,
        lambda: disconnect(actor=actor, user=user, uuid=uuid, subject=subject, except_key=key),
        "Disconnected. You were signed out everywhere else.",
        back=_part("sign-ins"),
    )


@require_POST
def time_zone_change(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("time_zone", "")
    try:
        choose_time_zone(actor=principal_of(request), name=name)
        request.session[ZONE] = name
        messages.success(request, "Time zone saved.")
    except InvalidField as error:
        messages.error(request, str(error))
    return redirect("profile")


@require_POST
def name_change(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("display_name", "").strip()
    actor, user = principal_of(request), own_account(request)
    return run_act(
        request,
        lambda: set_own_name(actor=actor, user=user, display_name=name),
        "Name saved.",
        back=reverse("profile"),
        refusals=(InvalidField,),
    )


@require_POST
def password_reset_choose(request: HttpRequest) -> HttpResponse:
    """Turn the reset of the user's own password by e-mail on or off."""
    is_on = request.POST.get("on") == "1"
    actor, user = principal_of(request), own_account(request)
    return run_act(
        request,
        lambda: choose_reset(actor=actor, user=user, allowed=is_on),
        f"Password reset by email turned {'on' if is_on else 'off'}.",
        back=_part("password-reset"),
    )


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for the user's password again, or redirect to the identity provider."""
    target = target_of(request)
    subject = provider_subject(request)
    form = ConfirmForm(request, request.POST if request.method == "POST" and subject is None else None)
    if form.is_bound and form.is_valid():
        confirm_session(request, own_account(request), how=form.how)
        messages.success(request, "Confirmed. You can continue.")
        return HttpResponseRedirect(target or resolve_url(settings.LOGIN_REDIRECT_URL))
    context = {
        "form": form,
        REDIRECT_FIELD_NAME: target,
        "sso_url": start_address(subject, target or reverse("profile"), again=True),
    }
    return _answer(request, "environments_app/confirm_person.html", context, form)


def profile_page(
    request: HttpRequest, form: PasswordForm | None = None, *, token_form: PersonalTokenForm | None = None
) -> HttpResponse:
    """Show the profile, perhaps with a form that was refused."""
    user, form = own_account(request), form or PasswordForm(request)
    grants = principal_of(request).grants
    names = sorted({grant.environment_name for grant in grants})
    context = {
        "account": user,
        "grants": sorted(
            principal_of(request).grants, key=lambda grant: (grant.environment_name, grant.prefix)
        ),
        "zones": time_zones(),
        "sessions": list(active_sessions(user)),
        "tokens": list(active_tokens(user)),
        "token_form": token_form or PersonalTokenForm(environments=names),
        "current_key": stored_key(request.session.session_key or ""),
        "password_form": form if user.has_usable_password() else None,
        "resets": resets_are_on(),
        "ways": _ways(user),
    }
    if token_form is not None:
        return render(request, "environments_app/profile.html", context, status=422)
    return _answer(request, "environments_app/profile.html", context, form)


def _part(anchor: str) -> str:
    """Return the address of a part of the profile, which opens its tab."""
    return f"{reverse('profile')}#{anchor}"


def _ways(user: User) -> dict[str, Any]:
    """Return how a person signs in, and where they connect another provider."""
    connected = connected_of(user)
    taken = {user.saml_issuer, *(row.issuer for row in connected)}
    query = f"?{urlencode({CONNECT: '1'})}"
    more = [
        (provider.label, reverse("oidc-start", args=[provider.slug]) + query)
        for provider in enabled_providers()
        if provider.subject_issuer not in taken and ScimClient.linked_to(provider.subject_issuer) is None
    ]
    has_saml = any(issuer and not issuer.startswith(OIDC_ISSUER) for issuer in taken)
    if settings.KEEPER_SAML and not has_saml and ScimClient.linked_to(SAML_ISSUER) is None:
        more.insert(0, ("SAML", reverse("saml-start") + query))
    first = label_of(user.saml_issuer) or "Single sign-on" if user.saml_issuer else "Password"
    rows = [(label_of(row.issuer) or row.issuer.removeprefix(OIDC_ISSUER), row) for row in connected]
    return {"first": first, "connected": rows, "more": more}


def _answer(request: HttpRequest, template: str, context: dict[str, Any], form: OwnForm) -> HttpResponse:
    if form.retry_after is None:
        return render(request, template, context, status=422 if form.errors else 200)
    return render_limited(request, template, context, retry_after=form.retry_after)


def own_account(request: HttpRequest) -> User:
    """Return the signed-in user as a row: Django's is a lazy proxy."""
    return User.objects.get(username=request.user.get_username())
