"""What a second factor accepts: the codes of its seed (RFC 6238), each once, and its recovery codes."""

import hmac
import re
import secrets
import time
from typing import Final
from uuid import UUID

from django_otp.oath import hotp

from audit_app.errors import NotSealedHere
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.interfaces.keyring import Place, Purpose, keyring
from environments_app.models import SecondFactor

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
