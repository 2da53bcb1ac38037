"""Sends the links of `password_links`: a worker makes each code when it sends it, and keeps its hash."""

import secrets
from datetime import timedelta
from typing import Final
from urllib.parse import urljoin

from django.conf import settings
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.db.concurrency import claim
from environments_app.authorization.principals import anonymous_principal
from environments_app.models import LinkPurpose, PasswordLink, User
from environments_app.models.authentication import LIFETIMES, account_fingerprint
from environments_app.notifications.email import send_message
from environments_app.notifications.service import Undeliverable, message_users
from environments_app.users.password_links import can_send, hash_of, obstacle_to_reset, resets_are_on

_CODE_BYTES: Final = 32
_CLAIM: Final = timedelta(minutes=2)
_FIRST_WAIT: Final = timedelta(seconds=30)
_ATTEMPTS: Final = 6
_BATCH: Final = 50
_MOST_ACCOUNTS: Final = 5
_LINKS_KEPT_FOR: Final = timedelta(days=30)
_RESETS_KEPT: Final = timedelta(days=1)

_INVITATION: Final = """\
{made_by} invited you to Keeper at {home}

Your username is {username}. Open this link within 72 hours to choose a password. It works once:

{link}

If you don't expect this invitation, ignore it.
"""
_RESET: Final = """\
Someone asked to reset the password of your Keeper account {username}.

Open this link within 30 minutes to choose a new one. It works once, and signs you out everywhere:

{link}

Two-factor authentication stays on. If you didn't ask for this, ignore it: your password stays as it is.
"""


def send_due() -> int:
    """Send the links that are due; return how many rows were worked on.

    An inactive installation sends none: a copy must not.
    """
    now = timezone.now()
    over = Q(created_at__lt=now - _LINKS_KEPT_FOR) | Q(
        purpose=LinkPurpose.RESET, created_at__lt=now - _RESETS_KEPT
    )
    PasswordLink.objects.filter(over).delete()
    if not is_active() or not can_send():
        return 0
    due = PasswordLink.objects.filter(due_at__lte=now).order_by("due_at", "pk")
    return sum(_work_on(pk) for pk in list(due.values_list("pk", flat=True)[:_BATCH]))


def _work_on(pk: int) -> bool:
    now = timezone.now()
    rows = PasswordLink.objects.select_related("user")
    link = claim(rows, pk, Q(due_at__lte=now), due_at=now + _CLAIM, attempts=F("attempts") + 1)
    if link is None:
        return False
    if not verified_rows([link]):
        _end(link)
    elif link.user is None:
        _answer_request(link)
    elif link.ended_at is None and _may_have(link.user, link):
        _send(link, link.user)
    else:
        _end(link)
    return True


def _answer_request(request: PasswordLink) -> None:
    """Find the accounts of a typed address: each gets its own link, or the reason why not."""
    theirs = Q(reset_email__iexact=request.address) | Q(email__iexact=request.address)
    for user in verified_rows(User.objects.filter(theirs, is_active=True).order_by("pk")[:_MOST_ACCOUNTS]):
        if not resets_are_on() or obstacle_to_reset(user):
            _explain(user)
        else:
            # To the address of the account: the typed text may only look like it.
            PasswordLink(
                purpose=LinkPurpose.RESET, user=user, address=user.reset_email, source=request.source
            ).save()
    _end(request)


def _may_have(user: User, link: PasswordLink) -> bool:
    if not verified_rows([user]) or not user.is_active:
        return False
    if link.purpose == LinkPurpose.INVITATION:
        return not user.has_usable_password() and user.email == link.address
    return resets_are_on() and not obstacle_to_reset(user) and user.reset_email == link.address


def _send(link: PasswordLink, user: User) -> None:
    code = secrets.token_urlsafe(_CODE_BYTES)
    is_reset = link.purpose == LinkPurpose.RESET
    link.code_hash, link.bound_to = hash_of(code), account_fingerprint(user)
    link.expires_at = timezone.now() + LIFETIMES[LinkPurpose(link.purpose)]
    link.save(update_fields=["code_hash", "bound_to", "expires_at"])
    older = PasswordLink.objects.filter(user=user, pk__lt=link.pk, ended_at=None)
    older.update(ended_at=timezone.now(), due_at=None)
    text = (_RESET if is_reset else _INVITATION).format(
        username=user.username,
        made_by=link.made_by,
        home=settings.KEEPER_URL,
        link=urljoin(settings.KEEPER_URL, f"{reverse('password-choose')}#{code}"),
    )
    if is_reset:
        commit_record(
            actor=anonymous_principal(link.source.partition("/")[0]),
            action=Action.USER_CHANGE,
            stream=streams.SYSTEM,
            object=AuditObject("user", user.uuid, user.username),
            details={"password_reset": "link sent", "address": link.address},
        )
    try:
        send_message(
            subject="Reset your password" if is_reset else "You are invited", text=text, to=[link.address]
        )
    except Undeliverable as error:
        _note_failure(link, error)
    else:
        PasswordLink.objects.filter(pk=link.pk).update(due_at=None, error="")


def _note_failure(link: PasswordLink, error: Undeliverable) -> None:
    over = error.permanent or link.attempts >= _ATTEMPTS
    due_at = None if over else timezone.now() + _FIRST_WAIT * 2 ** (link.attempts - 1)
    PasswordLink.objects.filter(pk=link.pk).update(due_at=due_at, error=str(error)[:200])


def _end(link: PasswordLink) -> None:
    PasswordLink.objects.filter(pk=link.pk).update(due_at=None, ended_at=timezone.now())


def _explain(user: User) -> None:
    reason = (
        obstacle_to_reset(user)
        if resets_are_on()
        else "Resets by e-mail are turned off. Ask an administrator."
    )
    message_users(
        people=[user.uuid],
        environment=None,
        kind="password-reset",
        subject="Your password was not reset",
        lines=[f"Someone asked to reset the password of your Keeper account {user.username}.", reason],
        link=reverse("sign-in"),
    )
