"""The schedule of retention: off unless KEEPER_AUDIT_RETENTION_DAYS is set."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from audit_app.errors import NothingToPrune
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import is_active
from audit_app.interfaces import audit_log_alerts
from audit_app.models import AuditEvent
from audit_app.retention.prune import Pruned, prune
from audit_app.retention.rules import PASSING
from core.errors import KeeperError

KIND: Final = "retention"
# A bundle holds what was kept before as well: one a month is enough of them.
_BUNDLE_INTERVAL: Final = timedelta(days=28)
_MOST_COUNTED: Final = 100_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RetentionStatus:
    """What the schedule will do; `waiting` events are old enough, and may go unless a rule keeps them."""

    days: int
    before: datetime
    next_run: datetime | None
    waiting: int
    archive: str

    @property
    def is_counted(self) -> bool:
        """Whether `waiting` is all of them."""
        return self.waiting <= _MOST_COUNTED


def retention_status() -> RetentionStatus | None:
    """Return the status of retention; None if it is off."""
    days, now = settings.KEEPER_AUDIT_RETENTION_DAYS, timezone.now()
    if days <= 0:
        return None
    before = now - timedelta(days=days)
    old = AuditEvent.objects.filter(at__lt=before, action__unindexed__in=PASSING).order_by()
    last = AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).order_by("-at").values_list("at", flat=True)
    last_run = last.first()
    return RetentionStatus(
        days=days,
        before=before,
        next_run=max(last_run + _BUNDLE_INTERVAL, now) if last_run else None,
        waiting=old.values("pk")[: _MOST_COUNTED + 1].count(),
        archive=str(settings.KEEPER_AUDIT_ARCHIVE_DIR),
    )


def default_bundle() -> Path:
    """Return the default path of a bundle, named by the time."""
    moment = timezone.now().strftime("%Y%m%dT%H%M%S")
    return Path(settings.KEEPER_AUDIT_ARCHIVE_DIR) / f"trail-{moment}-{uuid4().hex[:8]}.jsonl"


def prune_if_due() -> Pruned | None:
    """Prune events older than KEEPER_AUDIT_RETENTION_DAYS, if that is set; a refusal raises an alert."""
    days = settings.KEEPER_AUDIT_RETENTION_DAYS
    # A copy of the database does nothing, and reports nothing.
    if days <= 0 or not is_active():
        return None
    lately = AuditEvent.objects.filter(action=Action.TRAIL_PRUNE, at__gt=timezone.now() - _BUNDLE_INTERVAL)
    if lately.exists():
        return None
    try:
        result = prune(
            actor=actors.system(),
            before=timezone.now() - timedelta(days=days),
            bundle=default_bundle(),
            operator="the schedule",
        )
    except NothingToPrune:
        result = None
    except KeeperError as error:
        _log.error("old events stay in the audit log: %s", error)
        audit_log_alerts().raised(
            kind=KIND,
            subject="old events cannot be taken out of the audit log",
            lines=[str(error), "Nothing is lost: they stay in the database."],
        )
        return None
    audit_log_alerts().over(kind=KIND, subject="old events are taken out of the audit log again")
    return result
