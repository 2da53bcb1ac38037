"""Signing in and out: limited, checked and recorded before a session exists."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY, authenticate, login
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.recording.refusals import check_allowance, refuse
from core.canonical_json import Json
from core.clock import SLACK, ZONE
from core.network.client_address import subscriber
from environments_app.authentication import lockout, second_factor
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authentication.lockout import Attempt, Kind, Source, known_device
from environments_app.authentication.passkeys import owner_of, relying_party, take_challenge, use_passkey
from environments_app.authentication.pending import PASSKEY_REQUESTS, use_once
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import anonymous_principal, user_principal
from environments_app.errors import Forbidden
from environments_app.models import PersonalSettings, User
from environments_app.names import fold_username
from environments_app.notifications.service import raise_alert, resolve_alert
from environments_app.sessions.store import CONFIRMED, HINT, PLACE, SAML, stored_key
from environments_app.users.password_backend import LocalBackend, named_user

REFUSAL_KIND: Final = "sign-in"
# The alert that strangers used up their tries for an account.
TRIED: Final = "sign-in-tries"
_BACKEND: Final = "environments_app.users.password_backend.LocalBackend"
_MAX_AGENT: Final = 200
_AWAITED: Final = "second_factor_of"
_CODE_SECONDS: Final = 300


@dataclass(frozen=True, kw_only=True)
class ProviderSubject:
    """Whom the identity provider knows a session's person as; it is asked to end that session too.

    By OpenID Connect `name_id` is the subject and `session_index` the `sid`.
    """

    issuer: str
    name_id: str
    name_id_format: str
    session_index: str


def check_password(request: HttpRequest, *, username: str, password: str, own: bool = False) -> User | None:
    """Return the user of a username and password, or None, which is recorded when this returns.

    `own` is true if the session's user confirms their identity; the session then counts failures.

    With a second factor this is only half: `check_code` checks the other half.
    Failures of an existing user are separate events; all others are counted by address and minute.

    Raises TooManyRefusals while the address, or the source for this account, has no try left.
    """
    account = fold_username(username)
    attempt = lockout.take(account, _sources(request, account, own=own))
    user = authenticate(request, username=username, password=password)
    if isinstance(user, User):
        lockout.give_back(attempt, forget=user.second_factor is None)
        return user
    _note_refusal(request, named_user(username), attempt)
    return None


def check_code(request: HttpRequest, *, user: User, code: str, own: bool = False) -> str | None:
    """Consume a second-factor code after a correct password; return its kind, or None.

    Wrong ones count and are recorded as wrong passwords are, and together with them.
    Raises TooManyRefusals as `check_password` does.
    """
    return _second_half(
        request,
        user,
        lambda: second_factor.use_code(actor=_principal(request, user), user=user, text=code),
        own=own,
    )


def check_passkey(
    request: HttpRequest, *, user: User, credential: str, own: bool = False, alone: bool = False
) -> str | None:
    """Return "passkey" if a browser proved a passkey for the challenge of this session, else None.

    `alone` demands one that replaces the password too. Wrong ones count and are recorded as `check_code`
    does it. Raises TooManyRefusals as that does.
    """
    party, challenge = relying_party(request), take_challenge(request)

    def used() -> str | None:
        proved = (
            party is not None
            and challenge is not None
            and use_passkey(user=user, credential=credential, challenge=challenge, party=party, alone=alone)
        )
        return "passkey" if proved else None

    return _second_half(request, user, used, own=own)


def check_lone_passkey(request: HttpRequest, *, credential: str, challenge: str) -> User | None:
    """Return whose passkey a browser proved in place of password and code, or None, which is recorded.

    A challenge counts in the browser that it was shown to, for some minutes and once.
    Raises TooManyRefusals as `check_password` does.
    """
    party, user = relying_party(request), owner_of(credential)
    if party is None or user is None:
        check_allowance(address=address_of(request))
        refuse(kind=REFUSAL_KIND, address=address_of(request))
        return None

    def used() -> str | None:
        # Asked of the database: a name that a browser sends proves nothing of the account.
        account = LocalBackend().get_user(user.pk)
        proved = (
            challenge in PASSKEY_REQUESTS.pending(request)
            and account is not None
            and account.has_usable_password()
            and use_passkey(
                user=account, credential=credential, challenge=challenge.encode(), party=party, alone=True
            )
            and use_once(f"passkey sign-in\n{challenge}")
        )
        return "passkey" if proved else None

    return user if _second_half(request, user, used, own=False, reason="passkey") else None


def _second_half(
    request: HttpRequest,
    user: User,
    use: Callable[[], str | None],
    *,
    own: bool,
    reason: str = "second-factor",
) -> str | None:
    attempt = lockout.take(user.username, _sources(request, user.username, own=own))
    how = use()
    if how is None:
        _note_refusal(request, user, attempt, reason=reason)
        return None
    lockout.give_back(attempt, forget=True)
    return how


def _sources(request: HttpRequest, account: str, *, own: bool) -> Iterator[Source]:
    """Yield as what a request may try for an account, the surest first; raises TooManyRefusals.

    What only the person has is asked before the address, which strangers behind the same one use up.
    """
    if own:
        yield Source(Kind.SESSION, stored_key(request.session.session_key or ""))
        return
    device = known_device(request, account)
    if device is not None:
        yield Source(Kind.DEVICE, device)
    check_allowance(address=address_of(request))
    network = subscriber(address_of(request))
    if lockout.is_known_network(account, network):
        yield Source(Kind.NETWORK, network)
    yield Source(Kind.STRANGER, network)


def await_code(request: HttpRequest, user: User) -> None:
    """Store for some minutes the user whose password was right, in a session without a signed-in user.

    A session of another user ends: under a new id it would reset its count of wrong passwords.
    """
    if SESSION_KEY in request.session:
        request.session.flush()
    else:
        request.session.cycle_key()
    request.session[_AWAITED] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "until": int(time.time()) + _CODE_SECONDS,
    }


def awaited_user(request: HttpRequest) -> User | None:
    """Return whose password was right a few minutes ago, if it still is the password."""
    kept = request.session.get(_AWAITED)
    if not kept or not 0 < kept["until"] - time.time() <= _CODE_SECONDS + SLACK.total_seconds():
        return None
    user = LocalBackend().get_user(kept["user"])
    same = user is not None and constant_time_compare(kept["hash"], user.get_session_auth_hash())
    return user if same else None


def start_session(request: HttpRequest, user: User, *, shown: str | None = None, how: str = "") -> None:
    """Record a sign-in, and start the session under a new id.

    `shown` is the kind of second factor used, `how` what was used in place of a password. Raises Forbidden
    if a required second factor is missing.
    """
    if user.second_factor is not None and shown is None:
        raise Forbidden("Enter your authentication code.")
    details: dict[str, Json] = {"second_factor": shown} if shown else {}
    if how:
        details["how"] = how
    _record(_principal(request, user), Action.SIGN_IN, user, Outcome.ALLOWED, details)
    request.session.pop(_AWAITED, None)
    lockout.remember_network(user.username, subscriber(address_of(request)))
    resolve_alert(kinds=[TRIED], about=user.uuid, subject=f"{user.username} has signed in")
    _start(request, user, timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))


def start_provider_session(
    request: HttpRequest,
    user: User,
    subject: ProviderSubject,
    *,
    how: str,
    proved_at: int,
    ends_at: int | None,
    hint: str = "",
) -> None:
    """Record a sign-in through the identity provider, and start the session.

    Both are in seconds since the epoch: `proved_at` is when the provider last asked for the person's
    credentials, from which the fresh proof counts, and `ends_at` when the session ends at the latest.
    `hint` is the ID token, by which a provider ends its own session without a question.
    """
    _record(
        _principal(request, user),
        Action.SIGN_IN,
        user,
        Outcome.ALLOWED,
        {"how": how, "issuer": subject.issuer},
    )
    end = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
    _start(request, user, min(end, datetime.fromtimestamp(ends_at, UTC)) if ends_at else end)
    request.session[SAML] = asdict(subject)
    if hint:
        request.session[HINT] = hint
    mark_confirmed(request, at=proved_at)


def provider_subject(request: HttpRequest) -> ProviderSubject | None:
    """Return whom the identity provider knows this session's person as; None if it knows nothing of it."""
    kept = request.session.get(SAML)
    return ProviderSubject(**kept) if kept else None


def confirm_session(request: HttpRequest, user: User, *, how: str, at: int | None = None) -> None:
    """Record that the person of a session proved once more who they are, at a time that is now by default."""
    _record(_principal(request, user), Action.SESSION_CONFIRM, user, Outcome.ALLOWED, {"how": how})
    request.session.cycle_key()
    mark_confirmed(request, at=at)


def mark_confirmed(request: HttpRequest, *, at: int | None = None) -> None:
    """Note when the person of this session proved who they are, now by default; no time to come counts."""
    now = int(time.time())
    request.session[CONFIRMED] = now if at is None else min(at, now)


def record_denied(request: HttpRequest, user: User | None, *, reason: str = "") -> None:
    """Record a refused sign-in to an existing account."""
    if user is not None:
        actor = anonymous_principal(address_of(request), request_id_of(request))
        _record(actor, Action.SIGN_IN, user, Outcome.DENIED, {"reason": reason} if reason else None)


def record_sign_out(request: HttpRequest, user: User) -> None:
    """Record that a person ends their session."""
    _record(_principal(request, user), Action.SIGN_OUT, user, Outcome.ALLOWED)


def _note_refusal(request: HttpRequest, user: User | None, attempt: Attempt, *, reason: str = "") -> None:
    address, kind = address_of(request), attempt.source.kind
    record_denied(request, user, reason=reason)
    if user is not None and attempt.is_last and kind is Kind.STRANGER:
        _tell_tried(user)
    if kind in {Kind.NETWORK, Kind.STRANGER}:
        refuse(kind=REFUSAL_KIND, address=address)


def _tell_tried(user: User) -> None:
    raise_alert(
        kind=TRIED,
        about=user.uuid,
        environment=None,
        subject=f"Many failed sign-ins for {user.username}",
        lines=[
            "They came from networks where this person has not signed in before; those are blocked for now.",
            f"{user.username} can still sign in from a known browser or network.",
            "If this wasn't you, change your password and set up two-factor authentication.",
        ],
        link=reverse("profile"),
        signature=timezone.now().date().isoformat(),
        people=[user.uuid],
    )


def _principal(request: HttpRequest, user: User) -> Principal:
    return user_principal(user, address=address_of(request), request_id=request_id_of(request))


def _start(request: HttpRequest, user: User, end: datetime) -> None:
    # Django gives the session a new id here, so that a planted one is worth nothing; not for the same person.
    before = request.session.session_key
    login(request, user, backend=_BACKEND)
    if request.session.session_key == before:
        request.session.cycle_key()
    request.session.set_expiry(end)
    agent = request.META.get("HTTP_USER_AGENT", "")[:_MAX_AGENT]
    request.session[PLACE] = (address_of(request), agent)
    zone = PersonalSettings.objects.filter(user=user).values_list("time_zone", flat=True).first()
    if zone:
        request.session[ZONE] = zone
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
