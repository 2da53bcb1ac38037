"""Notifications by e-mail, through the server that the EMAIL_ variables name.

An addressee is a recipient of an environment, an account, or nil for the installation's addresses.
"""

import smtplib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage

from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import verified_rows
from environments_app.models import Environment, Recipient, User
from environments_app.notifications.service import AlertNotice, Undeliverable, one_line

# The kinds of what waits for a decision.
_REQUESTS: Final = frozenset({"approval", "access-request", "access-review"})
_TO_THE_INSTALLATION: Final = "You get this because KEEPER_ALERT_EMAILS names this address."
_TO_AN_ACCOUNT: Final = "You get this because you asked for it, or because you may decide about it."
_GONE: Final = "the recipient was removed, or its row was changed outside Keeper"


class EmailTransport:
    """Sends e-mail to an environment's recipients, and to KEEPER_ALERT_EMAILS about the installation."""

    name = "email"
    reaches_people = True

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:
        """Return the recipients of an environment; nil stands for the installation's addresses."""
        if environment is None:
            return [NIL] if settings.KEEPER_ALERT_EMAILS else []
        rows = Recipient.objects.filter(environment=environment).select_related("environment")
        return [row.uuid for row in verified_rows(rows)]

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        """Hand a message to the mail server. Raises Undeliverable."""
        if not settings.EMAIL_HOST:
            raise Undeliverable("no mail server is configured: set EMAIL_HOST", permanent=True)
        send_message(subject=notice.subject, text=_text(notice, addressee), to=_addresses(addressee))


def _text(notice: AlertNotice, addressee: UUID) -> str:
    """Return a message: what happened, what can be done, and why the reader gets it."""
    link = f"{'Review' if notice.kind in _REQUESTS else 'Open'}: {notice.link}" if notice.link else ""
    reason = _TO_THE_INSTALLATION if addressee == NIL else ""
    if not reason and Recipient.objects.filter(uuid=addressee).exists():
        reason = f"You get this because this address is a recipient of the alerts of {notice.environment}."
    elif not reason:
        reason = _TO_AN_ACCOUNT
    parts = [notice.subject + ".", "\n".join(notice.lines), link, reason]
    return "\n\n".join(part for part in parts if part) + "\n"


def send_message(*, subject: str, text: str, to: list[str]) -> None:
    """Hand a plain message to the mail server. Raises Undeliverable."""
    # A comment may have several lines; a name has one (`clean_fields`).
    body = "\n".join(one_line(line) for line in text.split("\n"))
    message = EmailMessage(subject=f"[Keeper] {one_line(subject)}", body=body, to=to)
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused:
        # The exception quotes the server, which may quote anything.
        raise Undeliverable("the mail server refuses the address", permanent=True) from None
    except smtplib.SMTPAuthenticationError:
        raise Undeliverable("the mail server refuses the sign-in of Keeper", permanent=False) from None
    except smtplib.SMTPException:
        raise Undeliverable("the mail server did not take it", permanent=False) from None
    except OSError:
        raise Undeliverable("no connection to the mail server", permanent=False) from None


def _addresses(addressee: UUID) -> list[str]:
    if addressee == NIL:
        return list(settings.KEEPER_ALERT_EMAILS)
    rows = verified_rows(Recipient.objects.filter(uuid=addressee).select_related("environment"))
    if rows:
        return [row.email for row in rows]
    people = verified_rows(User.objects.filter(uuid=addressee, is_active=True).exclude(email=""))
    if not people:
        raise Undeliverable(_GONE, permanent=True)
    return [person.email for person in people]
