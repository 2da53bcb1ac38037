"""Signing in and out: limited, checked and recorded before a session exists."""

import unicodedata
from typing import Final

from django.contrib.auth import authenticate
from django.http import HttpRequest

from audit_app import streams
from audit_app.actions import Action, Outcome
from audit_app.actors import Actor
from audit_app.record import AuditObject, commit_record
from audit_app.refusals import check_allowance, refuse
from environments_app import attempts
from environments_app.authentication import address_of, request_id_of
from environments_app.local_login import named_user
from environments_app.models import User
from environments_app.principals import anonymous_principal, user_principal

REFUSAL_KIND: Final = "sign-in"


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


def _record(actor: Actor, action: Action, user: User, outcome: Outcome) -> None:
    commit_record(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("user", user.uuid, user.username),
        outcome=outcome,
    )
