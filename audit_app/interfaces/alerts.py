"""Tells people about the audit log itself, by what KEEPER_AUDIT_ALERTS injects from above."""

from collections.abc import Sequence
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string


class TrailAlerts(Protocol):
    """Raises and ends alerts; `kind` says what it is about, in one word."""

    def raised(self, *, kind: str, subject: str, lines: Sequence[str]) -> None:
        """Tell operators that something needs them; the same thing is told once."""
        ...

    def over(self, *, kind: str, subject: str) -> None:
        """Tell those who were told that it is over."""
        ...


def trail_alerts() -> TrailAlerts:
    """Return an instance of settings.KEEPER_AUDIT_ALERTS."""
    return cast("TrailAlerts", import_string(settings.KEEPER_AUDIT_ALERTS)())
