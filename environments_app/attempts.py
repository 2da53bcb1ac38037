"""Limits how often passwords are tried: per address by the refusals, per account here."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F
from django.utils import timezone

from audit_app.errors import TooManyRefusals
from environments_app.models import FailedSignIns

MAX_FAILURES: Final = 10
WINDOW_SECONDS: Final = 900


def check_account(username: str) -> None:
    """Turn an attempt away while the account is locked, whether or not it exists.

    Raises TooManyRefusals with the seconds until the lock ends at the latest.
    """
    counted = FailedSignIns.objects.filter(account=_key(username), since__gt=_window_start())
    if counted.filter(count__gte=MAX_FAILURES).exists():
        raise TooManyRefusals(retry_after=WINDOW_SECONDS)


def note_failure(username: str) -> None:
    """Count a wrong password for an account; windows that are over are forgotten along the way."""
    counted = FailedSignIns.objects.filter(account=_key(username))
    if counted.filter(since__gt=_window_start()).update(count=F("count") + 1):
        return
    FailedSignIns.objects.filter(since__lte=_window_start()).delete()
    first = FailedSignIns(account=_key(username), since=timezone.now())
    # Somebody else may have begun the same window in between; each counts their own.
    FailedSignIns.objects.bulk_create([first], ignore_conflicts=True)
    counted.update(count=F("count") + 1)


def forget_failures(username: str) -> None:
    """Start counting anew after a right password."""
    FailedSignIns.objects.filter(account=_key(username)).delete()


def _window_start() -> datetime:
    return timezone.now() - timedelta(seconds=WINDOW_SECONDS)


def _key(username: str) -> str:
    return hashlib.sha256(username.encode()).hexdigest()
