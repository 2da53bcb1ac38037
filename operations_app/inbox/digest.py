"""Sends users a daily digest by e-mail, by their rights when it is sent."""

import logging
from datetime import datetime
from typing import Final
from urllib.parse import urljoin

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.integrity.active_installation import is_active
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.models import PersonalSettings, User
from environments_app.notifications.service import one_line
from operations_app.inbox.items import InboxItem, Section, sections

_log = logging.getLogger(__name__)
_LINES: Final = 5


def due(now: datetime) -> list[int]:
    """Return the ids of the people whose digest of the day has not been begun.

    None before the hour of the settings, without a mail server, or where this installation does not act.
    """
    if not _is_time(now):
        return []
    recipients = Q(personal_settings=None) | Q(personal_settings__digest=True) & _not_today(
        now, "personal_settings__"
    )
    people = User.objects.filter(recipients, is_active=True).exclude(email="")
    return list(people.order_by("pk").values_list("pk", flat=True))


def send(user_id: int) -> bool:
    """Send a user's digest if there is anything new; return whether it was sent.

    It is claimed first, so that two workers send it once; one that the mail server did not take is
    tried again by the next pass.
    """
    now = timezone.now()
    user = User.objects.filter(pk=user_id, is_active=True).exclude(email="").first()
    # A message is no proof that it is due.
    if user is None or not _is_time(now):
        return False
    chosen, _ = PersonalSettings.objects.get_or_create(user=user)
    before, own = chosen.digest_at, PersonalSettings.objects.filter(pk=chosen.pk)
    if not own.filter(_not_today(now), digest=True).update(digest_at=now):
        return False
    items = sections(user_principal(user), chosen.mailed)
    if not any(section.since(before) for section in items):
        return False
    message = EmailMessage(subject=_subject(items), body=_text(user, items, before), to=[user.email])
    _record(user, items, Outcome.ALLOWED)
    try:
        message.send()
    except OSError as error:
        # smtplib's errors are OSErrors as well.
        _log.warning("a digest was not sent: %s", type(error).__name__)
        _record(user, items, Outcome.FAILED)
        own.filter(digest_at=now).update(digest_at=before)
        return False
    return True


def _is_time(now: datetime) -> bool:
    hour = settings.KEEPER_DIGEST_HOUR
    return hour is not None and now.hour >= hour and bool(settings.EMAIL_HOST) and is_active()


def _not_today(now: datetime, prefix: str = "") -> Q:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Q(**{f"{prefix}digest_at": None}) | Q(**{f"{prefix}digest_at__lt": today})


def _subject(items: list[Section]) -> str:
    count = sum(len(section.notices) for section in items)
    return f"Keeper: {count}{' or more' if any(s.more for s in items) else ''} to review"


def _text(user: User, items: list[Section], before: datetime | None) -> str:
    lines = [f"Hello {one_line(user.display_name or user.username)},", ""]
    for section in items:
        lines += [section.title, *(_line(notice, before) for notice in section.notices)]
        lines += ["  and more: " + _address(section.all_url)] if section.more else []
        lines.append("")
    lines += [
        "This e-mail contains no secret values. New items are marked with *.",
        f"View all notifications and change this e-mail: {_address('/notifications')}",
    ]
    return "\n".join(lines)


def _line(notice: InboxItem, before: datetime | None) -> str:
    mark = "*" if before is None or notice.at > before else " "
    place = f" ({notice.environment})" if notice.environment else ""
    when = f", {notice.state} {notice.moment:%Y-%m-%d}" if notice.moment else ""
    more = [f"      {one_line(line)}" for line in notice.lines[:_LINES]]
    return "\n".join([one_line(f"{mark} {notice.title}{place}{when}"), *more])


def _address(path: str) -> str:
    address: str = urljoin(settings.KEEPER_URL, path)
    return address


def _record(user: User, items: list[Section], outcome: Outcome) -> None:
    commit_record(
        actor=system_principal(),
        action=Action.NOTIFICATION_SEND,
        stream=streams.SYSTEM,
        object=AuditObject("user", user.uuid, user.username),
        outcome=outcome,
        details={"transport": "digest", "kinds": [str(section.kind) for section in items]},
    )
