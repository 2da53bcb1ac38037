"""Sends the whole report by e-mail, once a week or a month, to the addresses of the settings."""

from datetime import datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.integrity.active_installation import is_active
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.authorization.principals import system_principal
from operations_app.reports import service as reports
from operations_app.reports.formats import FORMATS

SPANS: Final = {"weekly": timedelta(days=7), "monthly": timedelta(days=30)}
# After one that failed, the next attempt waits so long.
_PAUSE: Final = timedelta(hours=6)


def is_due(now: datetime) -> bool:
    """Return whether a report is due."""
    span = SPANS.get(settings.KEEPER_REPORT_SCHEDULE)
    if span is None or not settings.KEEPER_REPORT_EMAILS or not settings.EMAIL_HOST or not is_active():
        return False
    newest = AuditEvent.objects.filter(action=Action.REPORT_SEND).order_by("-id").first()
    if newest is None:
        return True
    return newest.at <= now - (_PAUSE if newest.outcome == Outcome.FAILED else span)


def send_if_due() -> bool:
    """Send the report if it is due, recorded before; a failure is recorded, and tried again later."""
    now = timezone.now()
    if not is_due(now):
        return False
    span = SPANS[settings.KEEPER_REPORT_SCHEDULE]
    report = reports.make(actor=system_principal(is_admin=True), key=reports.ALL, since=now - span)
    message = EmailMessage(
        subject="Keeper: compliance report",
        body="The report is attached. Print the HTML file, or save it as PDF.\n"
        "It names people and secrets, and holds no value.",
        to=settings.KEEPER_REPORT_EMAILS,
    )
    for form in ("html", "json"):
        content = b"".join(FORMATS[form].write(report))
        message.attach(f"keeper-{now:%Y%m%d}.{form}", content, FORMATS[form].media_type)
    _record(Outcome.ALLOWED, {"to": len(settings.KEEPER_REPORT_EMAILS)})
    try:
        message.send()
    except OSError as error:
        # smtplib's errors are OSErrors as well.
        _record(Outcome.FAILED, {"reason": type(error).__name__})
        return False
    return True


def _record(outcome: Outcome, details: dict[str, int | str]) -> None:
    commit_record(
        actor=system_principal(is_admin=True),
        action=Action.REPORT_SEND,
        stream=streams.SYSTEM,
        object=AuditObject(
            "report", uuid5(NAMESPACE_URL, f"{deployment_uuid()}/report/all"), "Compliance report"
        ),
        outcome=outcome,
        details={**details},
    )
