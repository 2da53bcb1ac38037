"""The addresses of single sign-on, thin; without SAML they answer as if they were not there."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Final

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from audit_app.recording.refusals import check_allowance, refuse
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authentication.sign_in import (
    SamlSubject,
    confirm_session,
    record_denied,
    start_saml_session,
)
from environments_app.authorization.principals import system_principal
from environments_app.errors import Conflict, SamlRefused, SamlUnavailable
from environments_app.models import User
from environments_app.saml.account_binding import bound_user, subject_user
from environments_app.saml.group_mapping import apply_groups
from environments_app.saml.protocol.assertion_rules import Statement
from environments_app.saml.protocol.authn_requests import PendingRequest, forget, pending_requests
from environments_app.saml.protocol.replay_guard import take
from environments_app.sessions.store import stored_key

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest], HttpResponse]
_AGAIN: Final = "again"


def _guarded(view: View) -> View:
    """Answer 404 without SAML; make a page and a record of each refusal."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if not settings.KEEPER_SAML:
            raise Http404
        check_allowance(address=address_of(request))
        try:
            return view(request)
        except SamlRefused as error:
            logger.warning("single sign-on refused: %s", error.reason)
            refuse(kind=error.reason, address=address_of(request))
            return _refusal(request, str(error), 403)
        except SamlUnavailable as error:
            logger.error("single sign-on is not available: %s", error)  # noqa: TRY400 - its message is sufficient
            return _refusal(request, str(error), 503)

    return login_not_required(answer)


@require_GET
@_guarded
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the identity provider."""
    from environments_app.saml.djangosaml2_views import StartView  # noqa: PLC0415 - only where SAML is set up

    again = _AGAIN in request.GET
    if isinstance(request.user, User) and not again:
        return HttpResponseRedirect(_target(request))
    if again and not isinstance(request.user, User):
        return redirect("sign-in")
    uuid = str(request.user.uuid) if isinstance(request.user, User) else ""
    view = StartView(target=_target(request), again=uuid)
    view.setup(request)
    return view.get(request)


@csrf_exempt  # Another site posts here; the id of our request stands in for a token, then the cookie.
@require_POST
@_guarded
def acs(request: HttpRequest) -> HttpResponse:
    """Take the identity provider's answer."""
    from environments_app.saml.djangosaml2_views import AnswerView  # noqa: PLC0415 - only where SAML is set up

    view = AnswerView()
    view.setup(request)
    return view.post(request)


@require_GET
@_guarded
def finish(request: HttpRequest) -> HttpResponse:
    """Sign in the browser that asked, and no other."""
    statement = take(request.GET.get("handle", ""))
    try:
        target = _complete(request, statement)
    except SamlRefused as error:
        record_denied(request, bound_user(statement), reason=error.reason)
        raise
    response = HttpResponseRedirect(target or resolve_url(settings.LOGIN_REDIRECT_URL))
    forget(request, response, statement.in_response_to)
    return response


@require_GET
@_guarded
def metadata(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Show what the identity provider must know of Keeper."""
    from environments_app.saml.djangosaml2_views import sp_metadata  # noqa: PLC0415 - only where SAML is set up

    return HttpResponse(sp_metadata(), content_type="application/samlmetadata+xml")


@require_GET
@_guarded
def single_logout(request: HttpRequest) -> HttpResponse:
    """End the sessions that the provider names; else report its answer.

    If Keeper sent the request, its own session has ended before. An address alone signs nobody out.
    """
    if "SAMLRequest" in request.GET:
        return _end_as_asked(request)
    if isinstance(request.user, User):
        return redirect(settings.LOGIN_REDIRECT_URL)
    return render(request, "environments_app/signed_out.html", {"everywhere": "SAMLResponse" in request.GET})


def _end_as_asked(request: HttpRequest) -> HttpResponse:
    from environments_app.saml.djangosaml2_views import answer_logout  # noqa: PLC0415 - only where SAML is set up

    actor = replace(system_principal(request_id=request_id_of(request)), address=address_of(request))
    onward, ended = answer_logout(request.META.get("QUERY_STRING", ""), actor=actor)
    if stored_key(request.session.session_key or "") in ended:
        # Its row is gone: nothing of it may be written back.
        request.session.flush()
    if onward is None:
        return render(request, "environments_app/signed_out.html", {"everywhere": True})
    response = HttpResponseRedirect(onward)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def provider_logout(subject: SamlSubject) -> str | None:
    """Return where a browser ends its session at the identity provider, if that can be asked now."""
    from environments_app.saml.djangosaml2_views import logout_address  # noqa: PLC0415 - only where SAML is set up

    try:
        return logout_address(subject)
    except SamlUnavailable as error:
        logger.warning("the identity provider cannot be asked to end a session: %s", error)
        return None


def _complete(request: HttpRequest, statement: Statement) -> str:
    """Do what this browser asked for with a statement, and return where it wanted to go."""
    pending = pending_requests(request).get(statement.in_response_to)
    if pending is None:
        raise SamlRefused(
            "saml-other-browser", "This sign-in was started in another browser, or long ago. Sign in again."
        )
    if pending.again:
        _confirm(request, statement, pending)
    else:
        _sign_in(request, statement)
    return pending.target


def _sign_in(request: HttpRequest, statement: Statement) -> None:
    actor = system_principal(is_admin=True, request_id=request_id_of(request))
    groups = statement.attributes.get(settings.KEEPER_SAML_GROUPS_ATTRIBUTE, [])
    try:
        user = subject_user(statement, actor=actor)
        user = apply_groups(actor=actor, user=user, groups=frozenset(groups))
    except Conflict as error:
        raise SamlRefused("saml-account", "Your account was changed meanwhile. Sign in again.") from error
    start_saml_session(
        request,
        user,
        SamlSubject(
            issuer=statement.issuer,
            name_id=statement.name_id,
            name_id_format=statement.name_id_format,
            session_index=statement.session_index,
        ),
        proved_at=_proved_at(statement),
        ends_at=statement.session_ends_at,
    )


def _confirm(request: HttpRequest, statement: Statement, pending: PendingRequest) -> None:
    """Note that the person of this session has just proved who they are once more."""
    user = bound_user(statement)
    same = isinstance(request.user, User) and user is not None and user == request.user
    if not same or user is None or str(user.uuid) != pending.again:
        raise SamlRefused("saml-other-person", "You signed in with another account than before.")
    proved_at = _proved_at(statement)
    if time.time() - proved_at > settings.KEEPER_REAUTH_SECONDS:
        raise SamlRefused("saml-not-fresh", "The identity provider did not ask for your credentials again.")
    confirm_session(request, user, how="saml", at=proved_at)


def _proved_at(statement: Statement) -> int:
    """Return when the provider asked for credentials, by its clock, which may be behind within the skew."""
    return statement.signed_in_at + int(settings.KEEPER_SAML_CLOCK_SKEW_SECONDS)


def _target(request: HttpRequest) -> str:
    target = request.GET.get(REDIRECT_FIELD_NAME, "")
    inside = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if inside else resolve_url(settings.LOGIN_REDIRECT_URL)


def _refusal(request: HttpRequest, sentence: str, status: int) -> HttpResponse:
    context = {"sentence": sentence, "start_url": reverse("saml-start"), "sign_in_url": reverse("sign-in")}
    response = render(request, "environments_app/saml_refused.html", context, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
