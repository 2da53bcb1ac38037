"""The addresses of single sign-on, thin; without SAML they answer as if they were not there."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authentication.pending import CONNECT, SAML_REQUESTS
from environments_app.authentication.sign_in import ProviderSubject, record_denied
from environments_app.authorization.principals import system_principal
from environments_app.errors import SignOnRefused, SignOnUnavailable
from environments_app.models import OIDC_ISSUER, User
from environments_app.saml.protocol.assertion_rules import DIRECTORY_IDS, Statement
from environments_app.saml.protocol.replay_guard import is_logged_out, take
from environments_app.sessions.store import SAML, stored_key
from environments_app.single_sign_on.account_binding import Vouched
from environments_app.single_sign_on.answers import (
    AGAIN,
    Answer,
    again_of,
    complete,
    guarded,
    target_of,
)

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest], HttpResponse]


def _guarded(view: View) -> View:
    """Answer 404 without SAML; make a page and a record of each refusal."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if not settings.KEEPER_SAML:
            raise Http404
        return guarded(view, request, start=reverse("saml-start"))

    return login_not_required(answer)


@require_GET
@_guarded
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the identity provider."""
    from environments_app.saml.djangosaml2_views import StartView  # noqa: PLC0415 - only where SAML is set up

    purpose = CONNECT if CONNECT in request.GET else ""
    again = bool(purpose) or AGAIN in request.GET
    if isinstance(request.user, User) and not again:
        return HttpResponseRedirect(target_of(request))
    if again and not isinstance(request.user, User):
        return redirect("sign-in")
    view = StartView(target=target_of(request), again=again_of(request), purpose=purpose)
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
    statement, number = take(request.GET.get("handle", ""))
    try:
        target = _complete(request, statement)
        _require_not_logged_out(request, statement, since=number)
    except SignOnRefused as error:
        record_denied(
            request, User.objects.bound_to(statement.issuer, statement.name_id), reason=error.reason
        )
        raise
    response = HttpResponseRedirect(target)
    SAML_REQUESTS.forget(request, response, statement.in_response_to)
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


def provider_logout(subject: ProviderSubject) -> str | None:
    """Return where a browser ends its session at the identity provider, if that can be asked now."""
    from environments_app.saml.djangosaml2_views import logout_address  # noqa: PLC0415 - only where SAML is set up

    try:
        return logout_address(subject)
    except SignOnUnavailable as error:
        logger.warning("the identity provider cannot be asked to end a session: %s", error)
        return None


def _complete(request: HttpRequest, statement: Statement) -> str:
    """Do what this browser asked for with a statement, and return where it wanted to go."""
    pending = SAML_REQUESTS.pending(request).get(statement.in_response_to)
    if pending is None:
        raise SignOnRefused(
            "saml-other-browser", "This sign-in was started in another browser, or long ago. Sign in again."
        )
    return complete(request, answer_of(statement), pending)


def _require_not_logged_out(request: HttpRequest, statement: Statement, *, since: int) -> None:
    """End the session that was stored, where the provider has ended its own since its answer came.

    Asked after the session is stored: a logout ends the sessions that it finds. Raises SignOnRefused.
    """
    if is_logged_out(statement, since=since):
        logout(request)
        raise SignOnRefused("saml-session-ended", "Your session was ended meanwhile. Sign in again.")


def answer_of(statement: Statement) -> Answer:
    """Return what an accepted statement proves of a person."""
    if statement.issuer.startswith(OIDC_ISSUER):
        raise SignOnRefused("saml-issuer", "The answer comes from an identity provider that is not set up.")
    username = _first(statement, settings.KEEPER_SAML_USERNAME_ATTRIBUTE)
    return Answer(
        vouched=Vouched(
            protocol=SAML,
            issuer=statement.issuer,
            subject=statement.name_id,
            username=username or statement.name_id,
            email=_first(statement, settings.KEEPER_SAML_EMAIL_ATTRIBUTE),
            display_name=_first(statement, settings.KEEPER_SAML_NAME_ATTRIBUTE),
            creates=settings.KEEPER_SAML_CREATE_USERS,
            directory_id=next(filter(None, (_first(statement, name) for name in DIRECTORY_IDS)), ""),
        ),
        groups=frozenset(statement.attributes.get(settings.KEEPER_SAML_GROUPS_ATTRIBUTE, [])),
        subject=ProviderSubject(
            issuer=statement.issuer,
            name_id=statement.name_id,
            name_id_format=statement.name_id_format,
            session_index=statement.session_index,
        ),
        # By the provider's clock, which may be behind within the skew.
        proved_at=statement.signed_in_at + int(settings.KEEPER_SAML_CLOCK_SKEW_SECONDS),
        ends_at=statement.session_ends_at,
    )


def _first(statement: Statement, attribute: str) -> str:
    values = statement.attributes.get(attribute) if attribute else None
    return values[0].strip() if values else ""
