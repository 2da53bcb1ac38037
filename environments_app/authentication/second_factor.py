"""The second factor of local accounts: time-based codes (RFC 6238), and recovery codes for one use each.

A code of the seed is accepted once. The seed is sealed under a system key, so that signing in continues
while the provider of keys is away, and is bound to its row and its person. A recovery code is stored as a
keyed hash alone.
"""

import hmac
import re
import secrets
import time
from base64 import b32encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django_otp.oath import hotp

from audit_app.errors import NotSealedHere
from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind, system
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.interfaces import Place, Purpose, keyring
from core.clock import SLACK
from environments_app.authentication.passkeys import require_own
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import Conflict, InvalidField, Tampered
from environments_app.models import SecondFactor, User
from environments_app.sessions.service import end_sessions, lock_other, lock_own
from environments_app.users.accounts import record_takeover
from environments_app.users.credentials import record_change, remove_all_passkeys
from environments_app.users.suspensions import mark_suspended, tell_suspended

RECOVERY_CODES: Final = 10
_LABEL: Final = "second-factor.seed"
_SEED_BYTES: Final = 20
_STEP_SECONDS: Final = 30
_DIGITS: Final = 6
# A code of the step before or after counts too: clocks differ, and people type.
_TOLERANCE: Final = 1
_CODE: Final = re.compile(r"[0-9]{6}")
# 80 bits, without characters that look like others.
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS: Final = 4


def new_seed() -> bytes:
    """Return a random seed, 20 bytes, which is what authenticators take."""
    return secrets.token_bytes(_SEED_BYTES)


def seal_seed(factor: SecondFactor, seed: bytes) -> None:
    """Put a seed on a row, sealed for it under the active system key; the row is not saved."""
    factor.seed = keyring().seal(Purpose.SECOND_FACTOR, seed, place=_place(factor))


def open_seed(factor: SecondFactor) -> bytes | None:
    """Return a row's seed; None, reported, if it was not sealed for that row and its person."""
    try:
        return keyring().open(Purpose.SECOND_FACTOR, bytes(factor.seed), place=_place(factor))
    except NotSealedHere as error:
        record_integrity_violation(
            kind=factor.MAC_LABEL, uuid=factor.uuid, name=str(factor.pk), reason=str(error)
        )
        return None


def is_code(text: str) -> bool:
    """Return whether a text has the form of a code; recovery codes have another."""
    return _CODE.fullmatch(text) is not None


def consume(factor: SecondFactor, code: str) -> bool:
    """Return whether a code is valid now, and neither it nor a later one was used."""
    seed = open_seed(factor)
    if seed is None or not is_code(code.strip()):
        return False
    now = int(time.time()) // _STEP_SECONDS
    given, matched = code.strip().encode(), 0
    for step in range(now - _TOLERANCE, now + _TOLERANCE + 1):
        if hmac.compare_digest(f"{hotp(seed, step, _DIGITS):0{_DIGITS}}".encode(), given):
            matched = step
    # Conditional, so that of two processes with the same code one takes it.
    unused = SecondFactor.objects.filter(pk=factor.pk, last_step__lt=matched)
    return bool(matched) and unused.update(last_step=matched) == 1


def renew_codes(factor: SecondFactor) -> list[str]:
    """Give a row new recovery codes and return them; only their keyed hashes are kept."""
    codes = [_new_code() for _ in range(RECOVERY_CODES)]
    factor.recovery_codes = [
        keyring().mac(Purpose.SECOND_FACTOR, _message(factor, code)).hex() for code in codes
    ]
    factor.save(update_fields=["recovery_codes"])
    return codes


def use_recovery_code(factor: SecondFactor, code: str) -> bool:
    """Return whether this is one of the recovery codes that are left, and use it up; the row is locked."""
    plain = _message(factor, code)
    # Each is compared, so the time taken does not reveal which.
    left = [
        text
        for text in factor.recovery_codes
        if not keyring().verify(Purpose.SECOND_FACTOR, plain, bytes.fromhex(text))
    ]
    used = len(left) < len(factor.recovery_codes)
    if used:
        factor.recovery_codes = left
        factor.save(update_fields=["recovery_codes"])
    return used


def _place(factor: SecondFactor) -> Place:
    return Place(label=_LABEL, row=factor.uuid, owner=factor.user.uuid)


def _new_code() -> str:
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUPS)) for _ in range(_GROUPS))


def _message(factor: SecondFactor, code: str) -> bytes:
    row: UUID = factor.uuid
    return b"recovery code\0" + row.bytes + code.replace("-", "").encode()


ISSUER: Final = "Keeper"
_ENROLMENT: Final = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True, repr=False)
class Enrolment:
    """What an authenticator is given, this once; it has no repr."""

    secret: str
    uri: str


def begin(*, actor: Principal, user: User) -> Enrolment:
    """Create a seed for the actor's own account; it takes effect once `enrol` gets a code of it.

    Raises Forbidden for another account, ConfirmationNeeded, or Conflict where single sign-on is
    responsible or a second factor is in use.
    """
    require_own(actor, user)
    with lock_own(actor, user, Action.SECOND_FACTOR_CHANGE) as stored:
        _require_none(stored)
        for old in SecondFactor.objects.filter(user=stored):
            record_change(actor, stored, old, "given up", row_digest_entry(old, gone=True))
            old.delete()
        remove_all_passkeys(actor, stored)
        factor = SecondFactor(user=stored)
        seed = new_seed()
        seal_seed(factor, seed)
        factor.save()
        record_change(actor, stored, factor, "begun", row_digest_entry(factor))
    return _enrolment(user, seed)


def pending(*, actor: Principal, user: User) -> Enrolment | None:
    """Return what was begun a few minutes ago, for the page that asks for its first code again."""
    require_own(actor, user)
    factor = None if user.second_factor else _begun(user)
    seed = open_seed(factor) if factor else None
    return _enrolment(user, seed) if seed else None


def enrol(*, actor: Principal, user: User, code: str) -> list[str]:
    """Ask for the second factor from now on; return the recovery codes, which are shown this once.

    It ends all sessions of the person: they began without it.
    Raises Forbidden, ConfirmationNeeded, Conflict if nothing was begun, or InvalidField for a wrong code.
    """
    require_own(actor, user)
    with lock_own(actor, user, Action.SECOND_FACTOR_CHANGE) as stored:
        _require_none(stored)
        factor = _begun(stored)
        if factor is None:
            raise Conflict("Setup has expired. Start again.")
        if not consume(factor, code):
            raise InvalidField("code", "Incorrect code. Check that your device's clock is right.")
        stored.second_factor = factor.uuid
        stored.save(update_fields=["second_factor"])
        end_sessions(stored, actor=actor, keep=actor.session)
        codes = renew_codes(factor)
        record_change(actor, stored, factor, "enrolled", row_digest_entry(stored, factor))
    return codes


def renew_recovery_codes(*, actor: Principal, user: User) -> list[str]:
    """Replace the actor's recovery codes; return the new ones, which are shown once.

    Raises Forbidden, ConfirmationNeeded, or Conflict without a second factor.
    """
    require_own(actor, user)
    with lock_own(actor, user, Action.SECOND_FACTOR_CHANGE) as stored:
        factor = _standing(stored, locked=True)
        if factor is None:
            raise Conflict("Two-factor authentication is off.")
        codes = renew_codes(factor)
        record_change(actor, stored, factor, "recovery codes replaced", row_digest_entry(factor))
    return codes


def remove(*, actor: Principal, user: User) -> User:
    """Remove the second factor: of the actor's own account, or as an administrator of another's.

    It ends the person's sessions; the latter suspends what the account reads until managers
    confirm it. Raises Forbidden, ConfirmationNeeded, or Conflict if there is none.
    """
    own = actor.kind is ActorKind.USER and actor.uuid == user.uuid
    if not own:
        require(actor=actor, action=Action.USER_CHANGE, environment=None)
    require_confirmed(actor)
    with (
        lock_own(actor, user, Action.SECOND_FACTOR_CHANGE)
        if own
        else lock_other(actor, user, Action.USER_CHANGE)
    ) as stored:
        if stored.second_factor is None:
            raise Conflict("Two-factor authentication is off.")
        stored.second_factor = None
        suspends = mark_suspended(actor, stored)
        stored.save(update_fields=["second_factor", "suspended_at"])
        end_sessions(stored, actor=actor, keep=actor.session if own else None)
        if suspends:
            tell_suspended(actor, stored)
        for factor in SecondFactor.objects.filter(user=stored):
            record_change(actor, stored, factor, "removed", row_digest_entry(factor, gone=True))
            factor.delete()
        remove_all_passkeys(actor, stored)
        record_takeover(actor, stored, {"second_factor": "removed"})
    return stored


def use_code(*, actor: Principal, user: User, text: str) -> str | None:
    """Use up a code, or a recovery code, of a person's second factor; return which it was, or None.

    A missing, edited or foreign row opens nothing.
    """
    given = text.strip().replace(" ", "").lower()
    if is_code(given):
        factor = _standing(user)
        return "code" if factor and consume(factor, given) else None
    with transaction.atomic():
        factor = _standing(user, locked=True)
        if factor is None or not use_recovery_code(factor, given):
            return None
        state = {"left": len(factor.recovery_codes), **row_digest_entry(factor)}
        record_change(actor, user, factor, "recovery code used", state)
    return "recovery code"


def recovery_codes_left(user: User) -> int:
    """Return how many recovery codes a person has."""
    factor = _standing(user)
    return len(factor.recovery_codes) if factor else 0


def _require_none(user: User) -> None:
    if not user.has_usable_password():
        raise Conflict("Accounts with single sign-on use their provider's two-factor authentication.")
    if user.second_factor is not None:
        raise Conflict("Two-factor authentication is already on. Turn it off first.")


def _begun(user: User) -> SecondFactor | None:
    now = timezone.now()
    rows = SecondFactor.objects.select_related("user").filter(
        user=user, created_at__gt=now - _ENROLMENT, created_at__lte=now + SLACK
    )
    return next(iter(verified_rows(rows.order_by("-pk")[:1])), None)


def _standing(user: User, *, locked: bool = False) -> SecondFactor | None:
    """Return what a person's row names, perhaps locked until the transaction ends; genuine or not at all."""
    if user.second_factor is None:
        return None
    rows = SecondFactor.objects.filter(user=user, uuid=user.second_factor)
    return next(iter(verified_rows(rows.select_for_update() if locked else rows)), None)


def reseal_seeds() -> tuple[int, list[str]]:
    """Re-encrypt every seed under the active system key; return the number, and those skipped with reasons.

    Recovery codes are stored as keyed hashes and cannot be recomputed without the code: they stay under
    their key.
    """
    done, problems = 0, list[str]()
    for row in SecondFactor.objects.select_related("user").order_by("pk"):
        if _resealed(row):
            done += 1
        else:
            problems.append(f"The second factor of {row.user.username} does not open: it stays as it is.")
    return done, problems


def _resealed(factor: SecondFactor) -> bool:
    try:
        with lock_authentic(factor) as stored:
            seed = open_seed(stored)
            if seed is None:
                return False
            seal_seed(stored, seed)
            stored.save(update_fields=["seed"])
            record_change(system(), stored.user, stored, "resealed", row_digest_entry(stored))
    except Tampered:
        return False
    return True


def _enrolment(user: User, seed: bytes) -> Enrolment:
    secret = b32encode(seed).decode()
    label = quote(f"{ISSUER}:{user.username}")
    return Enrolment(
        secret=secret, uri=f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': ISSUER})}"
    )
