"""Alerts operators about the audit log itself (settings.KEEPER_AUDIT_ALERTS)."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

from django.urls import reverse

from audit_app.models import deployment_uuid
from environments_app.notifications.service import MAX_LINES, raise_alert, resolve_alert

KIND: Final = "trail"


class OperatorAlerts:
    """Implements audit_app's AuditLogAlerts by messages about the installation as a whole."""

    def raised(self, *, kind: str, subject: str, lines: Sequence[str]) -> None:
        """Notify operators of a condition, once."""
        raise_alert(
            kind=KIND,
            about=_about(kind),
            environment=None,
            subject=subject,
            lines=list(lines)[:MAX_LINES],
            link=reverse("dashboard"),
        )

    def over(self, *, kind: str, subject: str) -> None:
        """Notify the same recipients that the condition has ended."""
        resolve_alert(kinds=[KIND], about=_about(kind), subject=subject, link=reverse("dashboard"))


def _about(kind: str) -> UUID:
    return uuid5(deployment_uuid(), f"trail:{kind}")
