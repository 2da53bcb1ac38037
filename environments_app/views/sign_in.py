"""Pages without a session: signing in and out, the second factor, and a new password by a link."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.errors import TooManyRefusals
from core.workers import nudge
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authentication.lockout import remember_device, strangers_tries
from environments_app.authentication.passkeys import ask_anyone, relying_party
from environments_app.authentication.pending import PASSKEY_REQUESTS, PendingRequest
from environments_app.authentication.sign_in import (
    ProviderSubject,
    await_code,
    awaited_user,
    provider_subject,
    record_sign_out,
    start_session,
)
from environments_app.errors import InvalidField, LinkEnded
from environments_app.forms.authentication import (
    ChosenForm,
    CodeForm,
    ForgottenForm,
    PasskeySignInForm,
    SignInForm,
    too_many,
)
from environments_app.models import OIDC_ISSUER, LinkPurpose, User
from environments_app.oidc import endpoints as oidc
from environments_app.oidc.providers import enabled_providers
from environments_app.saml.endpoints import provider_logout
from environments_app.sessions.store import HINT
from environments_app.users.password_links import SENDING, choose_password, request_reset, resets_are_on
from environments_app.views.base import render_limited, show_refusal

# Fewer wrong passwords of the last hour are likely the person's own.
_FAILURES_WARNED_OF = 5


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Show the form, or check it and start a new session."""
    target = target_of(request)
    if request.method == "GET":
        if request.user.is_authenticated:
            return HttpResponseRedirect(target or resolve_url(settings.LOGIN_REDIRECT_URL))
        return _page(request, SignInForm(request), target)
    form = SignInForm(request, request.POST)
    if not form.is_valid() or form.user is None:
        return _page(request, form, target)
    if form.user.second_factor:
        await_code(request, form.user)
        query = f"?{urlencode({REDIRECT_FIELD_NAME: target})}" if target else ""
        return HttpResponseRedirect(reverse("sign-in-code") + query)
    return _signed_in(request, form.user, target)


@login_not_required
@sensitive_post_parameters("passkey")
@require_POST
def sign_in_passkey(request: HttpRequest) -> HttpResponse:
    """Start a session by a passkey alone, which the page of the sign-in asked for."""
    target, form = target_of(request), PasskeySignInForm(request, request.POST)
    if not form.is_valid() or form.user is None:
        return _page(request, form, target)
    return _signed_in(request, form.user, target, shown="passkey", how="passkey")


@login_not_required
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def sign_in_code(request: HttpRequest) -> HttpResponse:
    """Ask whose password was right for their second factor, then start the session."""
    target, user = target_of(request), awaited_user(request)
    if user is None:
        # No pending sign-in, or too late: the password comes first.
        return redirect("sign-in")
    form = CodeForm(request, user, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        return _signed_in(request, user, target, shown=form.how)
    context = {"form": form, REDIRECT_FIELD_NAME: target}
    template = "environments_app/sign_in_code.html"
    return render_limited(request, template, context, retry_after=form.retry_after)


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session, and the one at the identity provider if it began there."""
    subject, hint = provider_subject(request), request.session.get(HINT, "")
    if isinstance(request.user, User):
        record_sign_out(request, request.user)
    # First, so that it is over whatever the identity provider does.
    logout(request)
    if subject is not None:
        # A page that leads on, not a redirect: the policy lets forms lead to Keeper alone.
        context = {"onward_url": _logout_at_provider(subject, hint)}
        return render(request, "environments_app/signing_out.html", context)
    messages.success(request, "You have been signed out.")
    return redirect(resolve_url(settings.LOGOUT_REDIRECT_URL or "sign-in"))


def _logout_at_provider(subject: ProviderSubject, hint: str) -> str | None:
    if subject.issuer.startswith(OIDC_ISSUER):
        return oidc.provider_logout(subject, hint)
    return provider_logout(subject) if settings.KEEPER_SAML else None


def _signed_in(
    request: HttpRequest, user: User, target: str, *, shown: str | None = None, how: str = ""
) -> HttpResponse:
    """Start the session, and mark the browser as one in which this person signs in."""
    tries = strangers_tries(user.username)
    start_session(request, user, shown=shown, how=how)
    if tries >= _FAILURES_WARNED_OF:
        messages.warning(
            request,
            f"{tries} failed sign-ins to your account from unknown networks. If this wasn't you, change your "
            "password and set up two-factor authentication.",
        )
    response = HttpResponseRedirect(target or resolve_url(settings.LOGIN_REDIRECT_URL))
    remember_device(request, response, user.username)
    return response


def _page(request: HttpRequest, form: SignInForm, target: str) -> HttpResponse:
    query = f"?{urlencode({REDIRECT_FIELD_NAME: target})}" if target else ""
    ways = [("Sign in with single sign-on", reverse("saml-start") + query)] if settings.KEEPER_SAML else []
    ways += [
        (f"Sign in with {provider.label}", reverse("oidc-start", args=[provider.slug]) + query)
        for provider in enabled_providers()
    ]
    context = {"form": form, REDIRECT_FIELD_NAME: target, "ways": ways, "resets": resets_are_on()}
    template, party = "environments_app/sign_in.html", relying_party(request)
    if party is None:
        return render_limited(request, template, context, retry_after=form.retry_after)
    challenge = PASSKEY_REQUESTS.new_id()
    context |= {"challenge": challenge, "passkey_options": ask_anyone(party, challenge)}
    response = render_limited(request, template, context, retry_after=form.retry_after)
    PASSKEY_REQUESTS.remember(request, response, PendingRequest(challenge))
    return response


def target_of(request: HttpRequest) -> str:
    """Return where to go afterwards, if it is a place of this installation."""
    target = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
    inside = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if inside else ""


@login_not_required
@sensitive_post_parameters("email")
@require_http_methods(["GET", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Take the address of who forgot their password; the answer is the same for each address."""
    if not resets_are_on():
        raise Http404
    form = ForgottenForm(request.POST or None)
    if not form.is_valid():
        return _password_page(request, "password_forgotten.html", form)
    try:
        request_reset(email=form.cleaned_data["email"], address=address_of(request))
    except TooManyRefusals as error:
        return _too_many(request, "password_forgotten.html", form, error)
    nudge(SENDING)
    return render(request, "environments_app/password_forgotten.html", {"asked": True})


@login_not_required
@sensitive_variables("form")
@sensitive_post_parameters("code", "password", "again")
@require_http_methods(["GET", "POST"])
def choose(request: HttpRequest) -> HttpResponse:
    """Set a password with the code of a link; an invited person is signed in.

    To open the page uses nothing up: mail scanners do that.
    """
    form = ChosenForm(request.POST or None)
    if not form.is_valid():
        return _password_page(request, "password_choose.html", form)
    fields = form.cleaned_data
    try:
        link = choose_password(
            code=fields["code"],
            password=fields["password"],
            address=address_of(request),
            request_id=request_id_of(request),
        )
    except LinkEnded as error:
        return _password_page(request, "password_choose.html", form, ended=str(error))
    except InvalidField as error:
        show_refusal(form, error)
        return _password_page(request, "password_choose.html", form)
    except TooManyRefusals as error:
        return _too_many(request, "password_choose.html", form, error)
    invited = link.user if link.purpose == LinkPurpose.INVITATION else None
    if invited is None or invited.second_factor:
        messages.success(request, "Password saved. Sign in with it.")
        return redirect("sign-in")
    messages.success(request, f"Welcome, {invited.username}. Your password is saved.")
    return _signed_in(request, invited, "")


def _password_page(
    request: HttpRequest, template: str, form: ForgottenForm | ChosenForm, *, ended: str = ""
) -> HttpResponse:
    context = {"form": form, "ended": ended, "resets": resets_are_on()}
    status = 422 if form.errors or ended else 200
    return render(request, f"environments_app/{template}", context, status=status)


def _too_many(
    request: HttpRequest, template: str, form: ForgottenForm | ChosenForm, error: TooManyRefusals
) -> HttpResponse:
    form.add_error(None, too_many(error.retry_after))
    template = f"environments_app/{template}"
    return render_limited(request, template, {"form": form}, retry_after=error.retry_after)
