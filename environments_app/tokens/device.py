"""Use cases of device sign-in (RFC 8628): a client asks, a person enters its code, the client gets a token.

The secret part of the token is made for the client at the start, and Keeper keeps its hash. When a person
approves, the hash becomes that of a personal token. So nothing that is stored opens anything.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.refusals import check_allowance, refuse
from core.clock import ends_in
from core.network.client_address import subscriber
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import clean_fields
from environments_app.errors import BadToken, Forbidden, Invisible
from environments_app.models import DeviceSignIn, PersonalToken
from environments_app.sessions.service import lock_own
from environments_app.tokens.authentication import check_secret
from environments_app.tokens.peppers import give_secret
from environments_app.tokens.personal import DEFAULT_LIFETIME, PREFIX, new_token, store_token
from environments_app.tokens.service import require_token_name

LIFETIME: Final = timedelta(minutes=10)
INTERVAL: Final = 5
# Consonants without those that look alike or make words (RFC 8628, 6.1): 34 bits.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_CODE_LENGTH: Final = 8
_DEVICE_CODE: Final = re.compile(r"([A-Za-z0-9_-]{22})_([A-Za-z0-9_-]{43})")
_MAX_PER_ADDRESS: Final = 20
_MAX_WAITING: Final = 2000


@dataclass(frozen=True)
class Started:
    """What a client gets: the code that it keeps to itself, and the row of the code that it shows."""

    device_code: str
    row: DeviceSignIn


def start(*, name: str, address: str) -> Started:
    """Begin a sign-in of a client that calls itself `name`; it waits for 10 minutes.

    Raises InvalidField, or TooManyRefusals if too many wait, from this address or in all.
    """
    check_allowance(address=address)
    now = timezone.now()
    DeviceSignIn.objects.exclude(in_time()).delete()
    source = subscriber(address)
    if (
        DeviceSignIn.objects.filter(address=source).count() >= _MAX_PER_ADDRESS
        or DeviceSignIn.objects.count() >= _MAX_WAITING
    ):
        raise TooManyRefusals(retry_after=60)
    row = DeviceSignIn(name=require_token_name(name), address=source, expires_at=now + LIFETIME)
    clean_fields(row, ["name"])
    secret = give_secret(row)
    save_with_code(row)
    return Started(f"{row.public_id}_{secret}", row)


def find_waiting(*, actor: Principal, code: str) -> DeviceSignIn:
    """Return the sign-in of a code that a person typed. Raises Invisible, counted against the address.

    Raises TooManyRefusals if that has tried too many.
    """
    check_allowance(address=actor.address)
    typed = re.sub(r"[^A-Z]", "", code.upper())
    row = DeviceSignIn.objects.filter(_waiting(), user_code=typed).first()
    if row is None or not verified_rows([row]):
        refuse(kind="unknown-device-code", address=actor.address)
        raise Invisible("Code not found or expired. Start the sign-in again, such as by kpr login.")
    return row


def approve(
    *,
    actor: Principal,
    code: str,
    environment: str = "",
    prefix: str = "",
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> PersonalToken:
    """Give the client of a code a personal token of the actor. Raises Invisible, or as `new_token` does."""
    row = find_waiting(actor=actor, code=code)
    token = new_token(actor=actor, name=row.name, environment=environment, prefix=prefix, lifetime=lifetime)
    token.public_id, token.pepper_id, token.secret_hash = row.public_id, row.pepper_id, row.secret_hash
    with lock_own(actor, token.user, Action.TOKEN_ISSUE):
        # Locked before the token is stored: two tokens of one code would break a constraint.
        if not DeviceSignIn.objects.select_for_update().filter(_waiting(), pk=row.pk).exists():
            raise _answered()
        store_token(actor=actor, token=token)
        DeviceSignIn.objects.filter(pk=row.pk).update(token=token)
    return token


def deny(*, actor: Principal, code: str) -> None:
    """Refuse the client of a code. Raises Invisible, also if another person has just answered."""
    row = find_waiting(actor=actor, code=code)
    if not DeviceSignIn.objects.filter(_waiting(), pk=row.pk).update(denied_at=timezone.now()):
        raise _answered()


def _answered() -> Invisible:
    return Invisible("This sign-in was answered already. See your tokens for what it was given.")


def redeem(*, device_code: str, address: str) -> tuple[str, PersonalToken] | None:
    """Return the token of a client and its row; None while no person has answered.

    Raises Invisible if the code is unknown or has ended, Forbidden if it was denied, or TooManyRefusals if
    the client asks more often than each INTERVAL seconds.
    """
    check_allowance(address=address)
    row = _of_client(device_code, address)
    if row.denied_at is not None:
        raise Forbidden("The sign-in was denied.")
    if row.token is not None:
        return f"{PREFIX}{device_code}", row.token
    now = timezone.now()
    due = Q(polled_at=None) | Q(polled_at__lte=now - timedelta(seconds=INTERVAL - 1))
    if not DeviceSignIn.objects.filter(due, pk=row.pk).update(polled_at=now):
        raise TooManyRefusals(retry_after=INTERVAL)
    return None


def _of_client(device_code: str, address: str) -> DeviceSignIn:
    match = _DEVICE_CODE.fullmatch(device_code)
    rows = DeviceSignIn.objects.select_related("token", "token__user", "token__environment")
    row = rows.filter(in_time(), public_id=match[1]).first() if match else None
    try:
        check_secret(row, match[2] if match else "")
    except BadToken:
        row = None
    if row is None or not verified_rows([row]):
        refuse(kind="unknown-device-code", address=address)
        raise Invisible("This sign-in has ended. Start again.")
    return row


def _waiting() -> Q:
    return in_time() & Q(denied_at=None, token=None)


def in_time() -> Q:
    """Return the condition on sign-ins whose code has not ended."""
    return ends_in("expires_at", within=LIFETIME)


def save_with_code(row: DeviceSignIn) -> None:
    """Store a sign-in under a code that no other one has."""
    for attempt in range(5):
        row.user_code = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            if attempt == 4:  # noqa: PLR2004 - the last one; five in a row are taken once in 10^30 starts
                raise
        else:
            return
