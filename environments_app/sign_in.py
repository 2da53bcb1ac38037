"""Signing in and out: limited, checked and recorded before a session exists."""

import time
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.contrib.auth import authenticate, login
from django.http import HttpRequest
from django.utils import timezone

from audit_app import streams
from audit_app.actions import Action, Outcome
from audit_app.actors import Actor
from audit_app.canonical import Json
from audit_app.record import AuditObject, commit_record
from audit_app.refusals import check_allowance, refuse
from environments_app import attempts
from environments_app.authentication import address_of, request_id_of
from environments_app.local_login import named_user
from environments_app.models import User
from environments_app.principals import anonymous_principal, user_principal
from environments_app.sessions import CONFIRMED, PLACE

REFUSAL_KIND: Final = "sign-in"
_BACKEND: Final = "environments_app.local_login.LocalBackend"
_SAML: Final = "saml"
_MAX_AGENT: Final = 200


@dataclass(frozen=True, kw_only=True)
class SamlSubject:
    """Whom the identity provider knows a session's person as; it is asked to end that session too."""

    issuer: str
    name_id: str
    name_id_format: str
    session_index: str


def check_password(request: HttpRequest, *, username: str, password: str) -> User | None:
    """Return the user of a username and password, or None; either is recorded when this returns.

    Failures of an existing user are events of their own; those of anybody else are counted by
    address and minute.

    Raises TooManyRefusals if the address or the account was refused too often.
    """
    address = address_of(request)
    account = unicodedata.normalize("NFKC", username).casefold()
    check_allowance(address=address)
    attempts.check_account(account)
    user = authenticate(request, username=username, password=password)
    if isinstance(user, User):
        attempts.forget_failures(account)
        principal = user_principal(user, address=address, request_id=request_id_of(request))
        _record(principal, Action.SIGN_IN, user, Outcome.ALLOWED)
        return user
    attempts.note_failure(account)
    _note_refusal(request, username)
    return None


def start_session(request: HttpRequest, user: User) -> None:
    """Start the session of somebody whose password was right, under a new id."""
    _start(request, user, timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))


def start_saml_session(
    request: HttpRequest, user: User, subject: SamlSubject, *, ends_at: int | None
) -> None:
    """Record that the identity provider vouches for somebody, and start their session.

    `ends_at`, in seconds since the epoch, is when the provider wants it to end at the latest.
    """
    principal = user_principal(user, address=address_of(request), request_id=request_id_of(request))
    _record(principal, Action.SIGN_IN, user, Outcome.ALLOWED, {"how": _SAML, "issuer": subject.issuer})
    end = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
    _start(request, user, min(end, datetime.fromtimestamp(ends_at, UTC)) if ends_at else end)
    request.session[_SAML] = asdict(subject)


def saml_subject(request: HttpRequest) -> SamlSubject | None:
    """Return whom the identity provider knows this session's person as; None if it knows nothing of it."""
    kept = request.session.get(_SAML)
    return SamlSubject(**kept) if kept else None


def confirm_session(request: HttpRequest, user: User, *, how: str) -> None:
    """Record that the person of a session proved once more who they are; it counts as fresh again."""
    principal = user_principal(user, address=address_of(request), request_id=request_id_of(request))
    _record(principal, Action.SESSION_CONFIRM, user, Outcome.ALLOWED, {"how": how})
    request.session.cycle_key()
    mark_confirmed(request)


def mark_confirmed(request: HttpRequest) -> None:
    """Note that the person of this session proved just now who they are."""
    request.session[CONFIRMED] = int(time.time())


def record_denied(request: HttpRequest, user: User | None, *, reason: str) -> None:
    """Record that somebody was about to sign in as an existing account and was refused."""
    if user is not None:
        actor = anonymous_principal(address_of(request), request_id_of(request))
        _record(actor, Action.SIGN_IN, user, Outcome.DENIED, {"reason": reason})


def record_sign_out(request: HttpRequest, user: User) -> None:
    """Record that a person ends their session."""
    principal = user_principal(user, address=address_of(request), request_id=request_id_of(request))
    _record(principal, Action.SIGN_OUT, user, Outcome.ALLOWED)


def _note_refusal(request: HttpRequest, username: str) -> None:
    address = address_of(request)
    user = named_user(username)
    if user is not None:
        _record(anonymous_principal(address, request_id_of(request)), Action.SIGN_IN, user, Outcome.DENIED)
    refuse(kind=REFUSAL_KIND, address=address)


def _start(request: HttpRequest, user: User, end: datetime) -> None:
    # Django gives the session a new id here, so that a planted one is worth nothing.
    login(request, user, backend=_BACKEND)
    request.session.set_expiry(end)
    agent = request.META.get("HTTP_USER_AGENT", "")[:_MAX_AGENT]
    request.session[PLACE] = (address_of(request), agent)
    mark_confirmed(request)


def _record(
    actor: Actor, action: Action, user: User, outcome: Outcome, details: Mapping[str, Json] | None = None
) -> None:
    commit_record(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("user", user.uuid, user.username),
        outcome=outcome,
        details=details,
    )
