"""What an answer of an identity provider does here: a session or a fresh proof, or a page that refuses."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.sessions.backends.base import UpdateError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from audit_app.recording.refusals import check_allowance, refuse
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authentication.pending import CONNECT, PendingRequest
from environments_app.authentication.sign_in import (
    ProviderSubject,
    confirm_session,
    start_provider_session,
)
from environments_app.authorization.principals import system_principal
from environments_app.errors import Conflict, SignOnRefused, SignOnUnavailable
from environments_app.models import OIDC_ISSUER, OidcProvider, ScimClient, Session, User
from environments_app.sessions.store import stored_key
from environments_app.single_sign_on.account_binding import Vouched, require_open, subject_user
from environments_app.single_sign_on.connected import PROVISIONED, offer
from environments_app.single_sign_on.group_mapping import apply_groups

logger = logging.getLogger(__name__)
AGAIN: Final = "again"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a provider has proved of a person.

    `proved_at` is when it asked for credentials, by Keeper's clock, 0 if it does not say; `ends_at` is when
    the session ends at the latest. Both are in seconds since the epoch.
    """

    vouched: Vouched
    groups: frozenset[str]
    subject: ProviderSubject
    proved_at: int
    ends_at: int | None
    # None: the SAML identity provider.
    provider: OidcProvider | None = None
    hint: str = field(default="", repr=False)


def guarded(
    view: Callable[..., HttpResponse], request: HttpRequest, *, start: str, **arguments: object
) -> HttpResponse:
    """Answer by a view; make a page and a record of each refusal. `start` is where to try again."""
    check_allowance(address=address_of(request))
    try:
        return view(request, **arguments)
    except SignOnRefused as error:
        logger.warning("single sign-on refused: %s", error.reason)
        refuse(kind=error.reason, address=address_of(request))
        return _refusal(request, str(error), 403, start)
    except SignOnUnavailable as error:
        logger.error("single sign-on is not available: %s", error)  # noqa: TRY400 - its message is sufficient
        return _refusal(request, str(error), 503, start)


def complete(request: HttpRequest, answer: Answer, pending: PendingRequest) -> str:
    """Do what this browser asked for, and return where it wanted to go. Raises SignOnRefused."""
    if pending.purpose == CONNECT:
        _offer(request, answer, pending)
        return reverse("sign-in-connect")
    if pending.again:
        _confirm(request, answer, pending)
    else:
        _sign_in(request, answer)
    return pending.target or resolve_url(settings.LOGIN_REDIRECT_URL)


def _sign_in(request: HttpRequest, answer: Answer) -> None:
    actor = system_principal(is_admin=True, request_id=request_id_of(request))
    protocol = answer.vouched.protocol
    try:
        user = subject_user(answer.vouched, actor=actor)
        user = apply_groups(actor=actor, user=user, groups=answer.groups, provider=answer.provider)
    except Conflict as error:
        raise SignOnRefused(
            f"{protocol}-account", "Your account was changed meanwhile. Sign in again."
        ) from error
    # As its row was locked last: disabled meanwhile, it gets no session.
    require_open(user, protocol)
    start_provider_session(
        request,
        user,
        answer.subject,
        how=protocol,
        proved_at=answer.proved_at,
        ends_at=answer.ends_at,
        hint=answer.hint,
    )
    # Stored first, then asked: a person who disconnects the sign-in ends the sessions that they find.
    try:
        request.session.save()
        is_theirs = User.objects.bound_to(answer.vouched.issuer, answer.vouched.subject) == user
    except UpdateError:
        is_theirs = False
    if not is_theirs:
        logout(request)
        raise SignOnRefused(f"{protocol}-session-ended", "Your session was ended meanwhile. Sign in again.")


def _offer(request: HttpRequest, answer: Answer, pending: PendingRequest) -> None:
    """Let the person of this session see whose sign-in a provider vouches for, before it is connected."""
    vouched = answer.vouched
    if not isinstance(request.user, User) or str(request.user.uuid) != pending.again:
        raise SignOnRefused(
            f"{vouched.protocol}-other-person", "You are not signed in any more. Sign in, then connect again."
        )
    if ScimClient.linked_to(vouched.issuer) is not None:
        raise SignOnRefused(f"{vouched.protocol}-provisioned", PROVISIONED)
    if User.objects.bound_to(vouched.issuer, vouched.subject) is not None:
        raise SignOnRefused(
            f"{vouched.protocol}-connected", "This sign-in already opens an account in Keeper."
        )
    # A session that another person left there vouches for nobody.
    _require_fresh(answer, pending)
    _require_session(request, vouched.protocol)
    offer(request, issuer=vouched.issuer, subject=vouched.subject, name=vouched.username)


def _confirm(request: HttpRequest, answer: Answer, pending: PendingRequest) -> None:
    """Note that the person of this session has just proved who they are once more."""
    protocol = answer.vouched.protocol
    user = User.objects.bound_to(answer.vouched.issuer, answer.vouched.subject)
    same = isinstance(request.user, User) and user is not None and user == request.user
    if not same or user is None or str(user.uuid) != pending.again:
        raise SignOnRefused(f"{protocol}-other-person", "You signed in with another account than before.")
    _require_fresh(answer, pending)
    _require_session(request, protocol)
    require_open(user, protocol)
    confirm_session(request, user, how=protocol, at=answer.proved_at)


def _require_fresh(answer: Answer, pending: PendingRequest) -> None:
    """Raise SignOnRefused unless the provider states that it asked for credentials since Keeper asked."""
    if answer.proved_at < pending.asked_at:
        raise SignOnRefused(
            f"{answer.vouched.protocol}-not-fresh",
            "The identity provider did not ask for your credentials again.",
        )


def _require_session(request: HttpRequest, protocol: str) -> None:
    """Raise SignOnRefused if the session was ended while the provider was asked: writing would revive it."""
    if not Session.objects.filter(session_key=stored_key(request.session.session_key or "")).exists():
        raise SignOnRefused(f"{protocol}-session-ended", "Your session was ended meanwhile. Sign in again.")


def target_of(request: HttpRequest) -> str:
    """Return where to go afterwards, if it is a place of this installation."""
    target = request.GET.get(REDIRECT_FIELD_NAME, "")
    inside = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if inside else resolve_url(settings.LOGIN_REDIRECT_URL)


def start_address(subject: ProviderSubject | None, target: str, *, again: bool) -> str:
    """Return where the person of a session signs in, or proves it `again`; "" without a provider."""
    if subject is None:
        return ""
    query = urlencode({**({AGAIN: "1"} if again else {}), REDIRECT_FIELD_NAME: target})
    if subject.issuer.startswith(OIDC_ISSUER):
        return f"{reverse('oidc-start', args=[subject.issuer.removeprefix(OIDC_ISSUER)])}?{query}"
    return f"{reverse('saml-start')}?{query}" if settings.KEEPER_SAML else ""


def _refusal(request: HttpRequest, sentence: str, status: int, start: str) -> HttpResponse:
    context = {"sentence": sentence, "start_url": start, "sign_in_url": reverse("sign-in")}
    response = render(request, "environments_app/sign_on_refused.html", context, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def again_of(request: HttpRequest) -> str:
    """Return the uuid of the signed-in person who must prove who they are again, "" for a sign-in."""
    return str(request.user.uuid) if isinstance(request.user, User) else ""
