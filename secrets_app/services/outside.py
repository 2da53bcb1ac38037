"""Shares a value once with a person who has no account: by a link, and a pass phrase or an e-mailed code.

The link's id is behind its `#`, so that no server, proxy or preview is sent it. Whoever has the link alone
sees who sent it; the value takes the proof as well. Only who knows a link's 256 random bits can use up its
tries, so a guess destroys nothing. The environment allows such links, and a protected one never does.

A pass phrase or code is stored as a keyed hash bound to its share and, for a code, to when it was asked for.
"""

import secrets as randomness
from datetime import timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.interfaces import Purpose, keyring
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record, record
from audit_app.recording.refusals import check_allowance, refuse
from core.canonical_json import Json, canonical_json, utc_text
from core.clock import is_in
from core.db.concurrency import claim
from core.workers import nudge
from environments_app.authorization.policy import Principal, require_confirmed
from environments_app.errors import Conflict, InvalidField
from environments_app.models import Environment, User
from environments_app.notifications.email import send_message
from environments_app.notifications.service import Undeliverable, message_users, one_line
from secrets_app.errors import NoSuchVersion, ShareEnded, TamperedSecret
from secrets_app.keys import data_keys
from secrets_app.models import Proof, Secret, SecretVersion, Share
from secrets_app.queries.lookup import require_authentic
from secrets_app.services.read import RevealedValue, open_version, version_of
from secrets_app.services.share import hash_of, is_genuine, new_share, record_share, sharer_may

MAX_TRIES: Final = 5
MAX_CODES: Final = 10
CODE_LIFE: Final = timedelta(minutes=10)
SENDING: Final = "secrets_app.tasks.send_share_codes"
_PAUSE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
# Codes of the links for which one was asked within the hour.
MAX_FOR_ADDRESS: Final = 10
MAX_OF_SHARER: Final = 30
_LABEL: Final = "share.proof"
# 80 bits, without characters that look like others.
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_BATCH: Final = 50
_NAMED: Final = ("environment", "secret__environment", "shared_by", "recipient", "opened_by")

_MESSAGE: Final = """\
Your code to view the secret that {sharer} shared with you:

{code}

It works for 10 minutes, on the page that asked for it. Keeper never asks for it anywhere else.
If you didn't open a link from {sharer}, ignore this message.
"""


class OutsideShare(NamedTuple):
    """A new share, its link's id, and its pass phrase if it has one: both are shown this once."""

    share: Share
    link: str
    phrase: str


def most_hours(environment: Environment) -> int:
    """Return for how long a link for somebody outside may last here; 0: there are none."""
    return 0 if environment.protected else environment.outside_hours or 0


def share_outside(
    *, actor: Principal, secret: Secret, proof: Proof, address: str = "", hours: int, note: str = ""
) -> OutsideShare:
    """Share the current version with a person without an account, who proves by `proof` to be meant.

    Raises Conflict if the environment does not allow it, ConfirmationNeeded, InvalidField without the
    address that codes go to, and as `share_once` does.
    """
    most = most_hours(secret.environment)
    if not most:
        raise Conflict("This environment does not allow links for people outside. A manager can allow them.")
    require_confirmed(actor)
    by_email = proof == Proof.EMAIL
    if by_email and not settings.EMAIL_HOST:
        raise Conflict("Keeper can't send codes by e-mail. Use a pass phrase, or set EMAIL_HOST.")
    if by_email:
        try:
            validate_email(address)
        except ValidationError:
            raise InvalidField("address", "Enter the e-mail address that the code is sent to.") from None
    share, link = new_share(
        actor=actor,
        secret=secret,
        hours=hours,
        most=most,
        note=note,
        outside=proof,
        address=address if by_email else "",
    )
    phrase = "" if by_email else "-".join(_random(_ALPHABET, 4) for _ in range(4))
    share.proof_mac = _mac(share, phrase) if phrase else ""
    with transaction.atomic():
        # The settings may have changed since the page was shown.
        stored = Environment.objects.select_for_update().filter(pk=share.environment_id).first()
        if stored is None or not 1 <= hours <= most_hours(stored):
            raise Conflict("The environment's settings have changed. Reload the page and try again.")
        share.save()
        record_share(actor, Action.SECRET_SHARE, share)
    return OutsideShare(share, link, phrase)


def find_outside(*, actor: Principal, link: str) -> Share:
    """Return the share that a link opens for whoever has the proof.

    Raises ShareEnded for every other link, known or not, and TooManyRefusals for a network that tried too
    many. An attempt at a known one is recorded as denied.
    """
    check_allowance(address=actor.address)
    rows = Share.objects.exclude(outside="").filter(link_hash=hash_of(link))
    share = rows.prefetch_related(*_NAMED).first()
    if share is not None and is_genuine(share) and _may_open(share):
        return share
    refuse(kind="share-link", address=actor.address)
    if share is not None:
        _record_denied(actor, share, "ended")
    raise ShareEnded


def ask_code(*, actor: Principal, link: str) -> None:
    """Have a code sent to the address of a link's share; an earlier code ends.

    Raises as `find_outside` does, and Conflict within a minute of the last code or after too many: of the
    link, of all links to the address, or of all that its sharer made.
    """
    share = find_outside(actor=actor, link=link)
    if share.outside != Proof.EMAIL:
        raise ShareEnded
    now = timezone.now()
    # A time to come was written by a clock that was ahead.
    rested = Q(code_asked_at=None) | Q(code_asked_at__lte=now - _PAUSE) | Q(code_asked_at__gt=now + _PAUSE)
    rows = Share.objects.filter(rested, pk=share.pk, outside=Proof.EMAIL, opened_at=None, revoked_at=None)
    with transaction.atomic():
        # Links of one sharer wait for each other here, so that they are counted together.
        User.objects.select_for_update().get(pk=share.shared_by_id)
        _require_few_codes(share)
        asked = rows.filter(codes__lt=MAX_CODES).update(
            code_asked_at=now, code_due_at=now, codes=F("codes") + 1, proof_mac=""
        )
        if asked:
            record(actor=actor, action=Action.SECRET_SHARE_CODE, **stream_and_object(share))
    if not asked and share.codes >= MAX_CODES:
        raise Conflict("No more codes are sent for this link. Ask the sender for a new one.")
    if not asked:
        raise Conflict("A code was requested less than a minute ago. Wait for it, or try again in a minute.")
    nudge(SENDING)


def _require_few_codes(share: Share) -> None:
    recent = Share.objects.filter(outside=Proof.EMAIL, code_asked_at__gt=timezone.now() - _HOUR)
    to_address = recent.filter(address__iexact=share.address).aggregate(codes=Sum("codes"))["codes"] or 0
    by_sharer = recent.filter(shared_by=share.shared_by).aggregate(codes=Sum("codes"))["codes"] or 0
    if to_address >= MAX_FOR_ADDRESS or by_sharer >= MAX_OF_SHARER:
        raise Conflict("Too many codes were sent within the hour. Try again later.")


def send_codes() -> int:
    """Make and send the codes that are due; return how many. An inactive installation sends none."""
    if not is_active() or not settings.EMAIL_HOST:
        return 0
    due = Share.objects.filter(code_due_at__lte=timezone.now()).order_by("code_due_at", "pk")
    return sum(_send(pk) for pk in list(due.values_list("pk", flat=True)[:_BATCH]))


def open_outside(*, actor: Principal, link: str, proof: str) -> RevealedValue:
    """Consume a share and show its version, this once, to whoever brings the pass phrase or the code.

    Raises as `find_outside` does, InvalidField for an expired code or a wrong proof, which is counted and
    recorded and at last ends the share, and KeyUnavailable before anything is consumed.
    """
    share = find_outside(actor=actor, link=link)
    version = _version(share)
    if version is None:
        raise ShareEnded
    if version.data_key_id:
        data_keys.prefetch({version.data_key_id})
    try:
        left = _consume(actor, share, proof)
    except ShareEnded:
        _record_denied(actor, share, "ended")
        raise
    except InvalidField:
        refuse(kind="share-proof", address=actor.address)
        _record_denied(actor, share, "expired code")
        raise
    if left is not None:
        refuse(kind="share-proof", address=actor.address)
        if not left:
            raise ShareEnded
        raise InvalidField("proof", f"That isn't right. {left} {'try' if left == 1 else 'tries'} left.")
    details: dict[str, Json] = {
        "share": str(share.uuid),
        "shared_by": share.shared_by.username,
        "for": share.reader,
    }
    value = open_version(actor=actor, version=version, action=Action.SECRET_REVEAL, details=details)
    return RevealedValue(version=version, value=value)


def _consume(actor: Principal, share: Share, proof: str) -> int | None:
    """Mark a share as opened if the proof is right; else count the try, and return how many are left.

    All is asked again under the lock: what ended meanwhile opens nothing. Raises ShareEnded, and InvalidField
    for a code that has expired, which costs no try.
    """
    with transaction.atomic(durable=True):
        rows = Share.objects.select_for_update().prefetch_related(*_NAMED)
        stored = rows.filter(pk=share.pk).first()
        if stored is None or not stored.is_authentic() or not _may_open(stored):
            raise ShareEnded
        if _code_expired(stored):
            raise InvalidField("proof", "That code has expired. Request a new one.")
        if _proves(stored, proof):
            stored.opened_at = timezone.now()
            stored.save(update_fields=["opened_at"])
            record_share(actor, Action.SECRET_SHARE_OPEN, stored)
            _tell(stored, "was opened", f"From {actor.address}." if actor.address else "")
            return None
        stored.tries += 1
        left = MAX_TRIES - stored.tries
        if left <= 0:
            stored.revoked_at = timezone.now()
            _tell(stored, "has ended", f"After {MAX_TRIES} wrong pass phrases or codes.")
        stored.save(update_fields=["tries", "revoked_at"])
        _record_wrong(actor, stored)
    return max(left, 0)


def _may_open(share: Share) -> bool:
    """Whether a share can be opened now by who has the proof."""
    place = share.environment
    # The setting of today counts for a link that was made under a longer one.
    latest = share.created_at + timedelta(hours=most_hours(place))
    if not share.is_open or place.deleted_at is not None or latest <= timezone.now():
        return False
    return not share.secret.guarded and sharer_may(share) and _version(share) is not None


def _version(share: Share) -> SecretVersion | None:
    """Return the version that was shared; None if it is gone, or was edited, which is recorded."""
    try:
        require_authentic(share.secret)
        return version_of(share.secret, share.number)
    except (NoSuchVersion, TamperedSecret):
        return None


def _proves(share: Share, proof: str) -> bool:
    if not share.proof_mac:
        return False
    if share.outside == Proof.EMAIL and (share.code_asked_at is None or _code_expired(share)):
        return False
    return keyring().verify(Purpose.FINGERPRINT, _message(share, proof), bytes.fromhex(share.proof_mac))


def _code_expired(share: Share) -> bool:
    asked = share.code_asked_at
    return asked is not None and not is_in(asked + CODE_LIFE, within=CODE_LIFE)


def _mac(share: Share, proof: str) -> str:
    return keyring().mac(Purpose.FINGERPRINT, _message(share, proof)).hex()


def _message(share: Share, proof: str) -> bytes:
    """Return what the hash of a proof is over; spaces, hyphens and case do not count, as people type them."""
    plain = "".join(proof.lower().replace("-", " ").split()).encode(errors="replace").decode()
    asked = utc_text(share.code_asked_at) if share.code_asked_at else ""
    return canonical_json([_LABEL, share.uuid, share.address, asked, plain])


def _random(alphabet: str, length: int) -> str:
    return "".join(randomness.choice(alphabet) for _ in range(length))


def _send(pk: int) -> bool:
    """Make the code of a share that waits for one, keep its hash, and send it."""
    rows = Share.objects.prefetch_related(*_NAMED)
    share = claim(rows, pk, Q(code_due_at__isnull=False), code_due_at=None)
    if share is None or not verified_rows([share]) or not share.address or not _may_open(share):
        return share is not None
    code = _random("0123456789", 8)
    # Of the request that was read: one that came since gets a code of its own.
    asked = Share.objects.filter(pk=pk, code_asked_at=share.code_asked_at, opened_at=None, revoked_at=None)
    if not asked.update(proof_mac=_mac(share, code)):
        return True
    sharer = one_line(share.shared_by.display_name or share.shared_by.username)
    text = _MESSAGE.format(sharer=sharer, code=f"{code[:4]} {code[4:]}")
    try:
        send_message(subject="Your code to view a shared secret", text=text, to=[share.address])
    except Undeliverable as error:
        _tell(share, "got no code", f"{str(error).capitalize()}. The recipient can ask for another code.")
    return True


def _tell(share: Share, what: str, line: str) -> None:
    """Tell the sharer what happened to the link."""
    message_users(
        people=[share.shared_by.uuid],
        environment=share.environment,
        kind="share",
        subject=f"Your link to {share.secret.name} {what}",
        lines=[f"It was for {share.reader}.", *([line] if line else [])],
    )


def _record_denied(actor: Principal, share: Share, reason: str) -> None:
    commit_record(
        actor=actor,
        action=Action.SECRET_SHARE_OPEN,
        **stream_and_object(share),
        outcome=Outcome.DENIED,
        details={"reason": reason},
    )


def _record_wrong(actor: Principal, share: Share) -> None:
    """Record a wrong proof, and the end of the share if it was the last."""
    if share.revoked_at:
        record_share(actor, Action.SECRET_SHARE_REVOKE, share)
    record(
        actor=actor,
        action=Action.SECRET_SHARE_OPEN,
        **stream_and_object(share),
        outcome=Outcome.DENIED,
        details={"reason": "wrong proof", "tries": share.tries},
    )
