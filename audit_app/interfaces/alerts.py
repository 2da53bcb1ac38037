"""Alerts about the audit log itself, through the class that KEEPER_AUDIT_ALERTS injects."""

from collections.abc import Sequence
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string


class TrailAlerts(Protocol):
    """Raises and ends alerts; `kind` names the subject in one word."""

    def raised(self, *, kind: str, subject: str, lines: Sequence[str]) -> None:
        """Notify operators of a condition, once."""
        ...

    def over(self, *, kind: str, subject: str) -> None:
        """Notify the same recipients that the condition has ended."""
        ...


def trail_alerts() -> TrailAlerts:
    """Return an instance of settings.KEEPER_AUDIT_ALERTS."""
    return cast("TrailAlerts", import_string(settings.KEEPER_AUDIT_ALERTS)())
