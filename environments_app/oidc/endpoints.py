"""The addresses of sign-in by OpenID Connect, thin; without such a provider they answer 404."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial, wraps
from typing import Final, NoReturn

import structlog
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import UpdateError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from audit_app.recording.refusals import check_allowance
from audit_app.recording.refusals import refuse as count_refusal
from environments_app.authentication.drf import address_of, principal_of, request_id_of
from environments_app.authentication.pending import CONNECT, KEPT, TEST, PendingRequest, digest_of, use_once
from environments_app.authentication.sign_in import ProviderSubject, provider_subject, record_denied
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.principals import system_principal
from environments_app.errors import SignOnRefused, SignOnUnavailable
from environments_app.models import OIDC_ISSUER, OidcProvider, UsedJwt, User
from environments_app.oidc import id_tokens
from environments_app.oidc.client_keys import public_keys
from environments_app.oidc.discovery import announces_iss, limit_waiting
from environments_app.oidc.exchange import (
    answer_to,
    authorization_address,
    end_address,
    key_of,
    requests_of,
)
from environments_app.oidc.id_tokens import refuse
from environments_app.oidc.providers import document_of, expected_of, find_provider, note_refusal
from environments_app.sessions.service import end_named_session, end_provider_sessions
from environments_app.sessions.store import stored_key
from environments_app.single_sign_on.answers import (
    AGAIN,
    Answer,
    again_of,
    complete,
    guarded,
    target_of,
)
from environments_app.trusts.jwt.rules import MAX_ID
from environments_app.users.password_backend import named_user

View = Callable[[HttpRequest, OidcProvider], HttpResponse]
_MAX_CODE: Final = 2048
_MAX_LOGOUT: Final = 20 * 1024
# What answers carry that Keeper never asks for: other flows.
_FOREIGN: Final = frozenset({"id_token", "access_token", "token", "response", "request", "request_uri"})
_ERROR: Final = re.compile(r"[a-z_]{1,40}")
_DENIED: Final = frozenset({"access_denied", "login_required", "interaction_required", "consent_required"})
logger: Final = structlog.get_logger(__name__)


def _of_provider(view: View, *, disabled: bool = False) -> Callable[..., HttpResponse]:
    """Give a view the provider of its address; 404 without one, and a page of each refusal.

    A `disabled` one too is given to the views that an administrator tests it by.
    """

    @wraps(view)
    def answer(request: HttpRequest, slug: str) -> HttpResponse:
        provider = _provider(slug, disabled=disabled)

        def noting(request: HttpRequest) -> HttpResponse:
            try:
                return view(request, provider)
            except SignOnRefused as error:
                note_refusal(provider, error.reason)
                raise

        return guarded(noting, request, start=reverse("oidc-start", args=[slug]))

    return login_not_required(answer)


@require_GET
@partial(_of_provider, disabled=True)
def start(request: HttpRequest, provider: OidcProvider) -> HttpResponse:
    """Send the browser to the provider."""
    purpose = next((name for name in (CONNECT, TEST) if name in request.GET), "")
    if purpose == TEST and isinstance(request.user, User):
        require(actor=principal_of(request), action=Action.SSO_PROVIDER_CHANGE, environment=None)
    elif not provider.enabled:
        raise Http404
    again = bool(purpose) or AGAIN in request.GET
    signed_in = isinstance(request.user, User)
    if signed_in and not again:
        return HttpResponseRedirect(target_of(request))
    if again and not signed_in:
        return redirect("sign-in")
    requests = requests_of(provider)
    pending = PendingRequest(requests.new_id(), target_of(request), again_of(request), purpose=purpose)
    response = HttpResponseRedirect(authorization_address(provider, pending.id, again=again))
    requests.remember(request, response, pending)
    return response


@require_GET
@partial(_of_provider, disabled=True)
def callback(request: HttpRequest, provider: OidcProvider) -> HttpResponse:
    """Take the provider's answer: sign in the browser that asked, and no other."""
    query = request.GET
    if any(len(query.getlist(name)) > 1 for name in query) or _FOREIGN.intersection(query):
        refuse("oidc-malformed")
    state, requests = query.get("state", ""), requests_of(provider)
    issued = requests.issued_at(state)
    if issued is None:
        refuse("oidc-state", "This sign-in is over, or was not started here. Sign in again.")
    # The state has whole seconds: a logout just before it is not of this sign-in.
    since = min(issued + 1.0, time.time())
    pending = requests.pending(request).get(state)
    if pending is None:
        refuse("oidc-other-browser", "This sign-in was started in another browser. Sign in again.")
    if not provider.enabled and pending.purpose != TEST:
        raise Http404
    with limit_waiting(provider.issuer):
        answer = _answer_of(provider, request, state)
    # The provider took seconds to answer: what an administrator changed meanwhile counts.
    meanwhile = find_provider(provider.slug, disabled=True)
    if meanwhile is None or bytes(meanwhile.row_mac) != bytes(provider.row_mac):
        refuse("oidc-provider-changed", "The sign-in was changed meanwhile. Sign in again.")
    if pending.purpose == TEST:
        return _tested(request, answer, pending, meanwhile, asked_at=issued)
    return _completed(request, answer, pending, meanwhile, since=since)


def _answer_of(provider: OidcProvider, request: HttpRequest, state: str) -> Answer:
    """Use up a state, and return what the provider proves. Raises SignOnRefused, SignOnUnavailable."""
    query = request.GET
    _use_once(f"oidc state\n{provider.uuid}\n{state}", "oidc-replayed")
    if "error" in query:
        _refuse_error(provider, query["error"])
    stated = query.get("iss")
    if stated != provider.issuer and (stated is not None or announces_iss(document_of(provider))):
        refuse("oidc-mix-up")
    code = query.get("code", "")
    if not 1 <= len(code) <= _MAX_CODE:
        refuse("oidc-no-code")
    return answer_to(provider, state=state, code=code)


def _tested(
    request: HttpRequest, answer: Answer, pending: PendingRequest, provider: OidcProvider, *, asked_at: int
) -> HttpResponse:
    """Show an administrator what a provider states of a person; it signs nobody in."""
    if again_of(request) != pending.again:
        refuse("oidc-other-person", "You are signed in as another person than before.")
    require(actor=principal_of(request), action=Action.SSO_PROVIDER_CHANGE, environment=None)
    vouched = answer.vouched
    context = {
        "provider": provider,
        "vouched": vouched,
        "groups": sorted(answer.groups),
        "account": User.objects.bound_to(vouched.issuer, vouched.subject),
        "is_taken": named_user(vouched.username) is not None,
        # It was asked for the person's credentials: a time before that is of an older sign-in.
        "proves_fresh": answer.proved_at >= asked_at,
        "states_time": answer.proved_at > 0,
    }
    response = render(request, "environments_app/sign_on_test.html", context)
    requests_of(provider).forget(request, response, pending.id)
    return response


def _completed(
    request: HttpRequest, answer: Answer, pending: PendingRequest, provider: OidcProvider, *, since: float
) -> HttpResponse:
    try:
        target = complete(request, answer, pending)
        _require_not_ended(request, provider, since=since)
    except SignOnRefused as error:
        user = User.objects.bound_to(answer.vouched.issuer, answer.vouched.subject)
        record_denied(request, user, reason=error.reason)
        raise
    response = HttpResponseRedirect(target)
    requests_of(provider).forget(request, response, pending.id)
    return response


@login_not_required
@require_GET
def client_keys(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Show the public keys by which Keeper proves itself to providers."""
    return JsonResponse(public_keys())


@require_GET
@_of_provider
def signed_out(request: HttpRequest, provider: OidcProvider) -> HttpResponse:  # noqa: ARG001 - the address has it
    """Tell that the session at the provider ended too; Keeper's own has ended before."""
    return render(request, "environments_app/signed_out.html", {"everywhere": True})


@csrf_exempt  # The provider posts here, with a token that it signed.
@require_POST
@login_not_required
def back_channel_logout(request: HttpRequest, slug: str) -> HttpResponse:
    """End the sessions that a provider names in a signed token."""
    provider = _provider(slug)
    check_allowance(address=address_of(request))
    try:
        text = request.POST.get("logout_token", "")
        if len(text) > _MAX_LOGOUT or len(request.POST.getlist("logout_token")) != 1:
            refuse("oidc-malformed")
        jwt = id_tokens.read_token(text, logout=True)
        claims = id_tokens.judge_logout_token(
            jwt, key_of(provider, jwt), expected_of(provider), now=time.time()
        )
        _use_once(f"oidc logout\n{provider.uuid}\n{claims['jti']}", "oidc-replayed")
    except SignOnRefused as error:
        logger.warning("logout_refused", provider=provider.slug, reason=error.reason)
        count_refusal(kind=error.reason, address=address_of(request))
        note_refusal(provider, error.reason)
        return JsonResponse({"error": "invalid_request", "error_description": error.reason}, status=400)
    except SignOnUnavailable as error:
        logger.warning("logout_not_judged", provider=provider.slug, reason=str(error))
        return JsonResponse({"error": "temporarily_unavailable"}, status=503)
    actor, issuer, sid = _keeper(request), provider.subject_issuer, str(claims.get("sid", ""))
    _note_ended(provider, sid=sid, subject=claims.get("sub", ""))
    if "sub" not in claims:
        end_named_session(actor=actor, issuer=issuer, index=sid)
    else:
        end_provider_sessions(actor=actor, issuer=issuer, name_id=claims["sub"], indexes=[sid] if sid else [])
    return HttpResponse()


@require_GET
@_of_provider
def front_channel_logout(request: HttpRequest, provider: OidcProvider) -> HttpResponse:
    """End the session that a browser names in a frame of the provider; cookies do not come along."""
    issuer, sid = request.GET.get("iss", ""), request.GET.get("sid", "")
    if issuer != provider.issuer or not 1 <= len(sid) <= MAX_ID:
        refuse("oidc-front-channel", "The sign-out names no session of this provider.")
    _note_ended(provider, sid=sid, subject="")
    ended = end_named_session(actor=_keeper(request), issuer=provider.subject_issuer, index=sid)
    if not ended:
        # Guesses are counted like any refusal.
        count_refusal(kind="oidc-front-channel", address=address_of(request))
    if stored_key(request.session.session_key or "") in ended:
        # Its row is gone: nothing of it may be written back.
        request.session.flush()
    return render(request, "environments_app/signed_out.html", {"everywhere": True})


def provider_logout(subject: ProviderSubject, hint: str) -> str | None:
    """Return where a browser ends its session at its provider, if that has an address for it."""
    provider = find_provider(subject.issuer.removeprefix(OIDC_ISSUER))
    return end_address(provider, hint=hint) if provider else None


def _provider(slug: str, *, disabled: bool = False) -> OidcProvider:
    provider = find_provider(slug, disabled=disabled)
    if provider is None:
        raise Http404
    return provider


def _keeper(request: HttpRequest) -> Principal:
    return replace(system_principal(request_id=request_id_of(request)), address=address_of(request))


def _use_once(name: str, reason: str) -> None:
    """Use up a state or a logout token, whatever process takes it. Raises SignOnRefused if it was used."""
    if not use_once(name):
        refuse(reason, "This sign-in was used before. Sign in again.")


def _note_ended(provider: OidcProvider, *, sid: str, subject: str) -> None:
    """Let no sign-in that has begun go on with what the provider logs out now.

    It comes before the sessions are looked for: a session that is stored later finds the note.
    """
    names = [
        f"sid\n{sid}" if sid else f"sub\n{subject}",
        *([f"no sid\n{subject}"] if sid and subject else []),
    ]
    for name in names:
        UsedJwt.objects.update_or_create(
            digest=digest_of(f"oidc ended\n{provider.uuid}\n{name}"),
            defaults={"until": timezone.now() + KEPT},
        )


def _require_not_ended(request: HttpRequest, provider: OidcProvider, *, since: float) -> None:
    """Raise SignOnRefused if the provider has ended the session of a request since a time."""
    subject = provider_subject(request)
    if subject is None:
        return
    sid = subject.session_index
    names = [f"sid\n{sid}" if sid else f"no sid\n{subject.name_id}", f"sub\n{subject.name_id}"]
    digests = [digest_of(f"oidc ended\n{provider.uuid}\n{name}") for name in names]
    until = datetime.fromtimestamp(since, UTC) + KEPT
    try:
        # Stored first, then asked: a logout that is not noted yet finds the session.
        request.session.save()
        is_ended = UsedJwt.objects.filter(digest__in=digests, until__gte=until).exists()
    except UpdateError:
        is_ended = True
    if is_ended:
        logout(request)
        refuse("oidc-session-ended", "Your session was ended meanwhile. Sign in again.")


def _refuse_error(provider: OidcProvider, error: str) -> NoReturn:
    """Refuse for what the provider states; its text is logged if it is one of the protocol's words."""
    logger.warning(
        "oidc_error", provider=provider.slug, error=error if _ERROR.fullmatch(error) else "another text"
    )
    if error in _DENIED:
        refuse("oidc-denied", "The identity provider did not sign you in.")
    refuse("oidc-provider", "The identity provider reports an error. Try again, or ask an administrator.")
