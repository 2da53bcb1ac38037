"""The status of work that nobody waits for on a page: backups, and messages to people."""

from collections.abc import Iterator
from typing import Final

from django.urls import reverse_lazy
from django.utils import timezone

from environments_app.models import Delivery, DeliveryState
from operations_app.backup.service import is_late, last_success
from operations_app.health.status import SystemStatus

GROUP: Final = "Backups and messages"
BACKUP_REMEDY: Final = "Open Backups and choose Back up now, or set KEEPER_BACKUP_INTERVAL_HOURS."
MESSAGE_REMEDY: Final = "Open Jobs to see why, and to try them again."


def work_status() -> Iterator[SystemStatus]:
    """Yield whether a recent backup exists, and whether messages were given up."""
    last = last_success()
    fault = "" if last and not is_late(last) else "the last one is too old" if last else "no backup yet"
    yield SystemStatus(
        group=GROUP,
        name="Backups",
        state="degraded" if fault else "ok",
        detail=fault,
        remedy=BACKUP_REMEDY if fault else "",
        at=last,
        url=reverse_lazy("backups"),
    )
    failed = Delivery.objects.filter(state=DeliveryState.FAILED, environment__deleted_at__isnull=True).count()
    yield SystemStatus(
        group=GROUP,
        name="Messages",
        state="degraded" if failed else "ok",
        detail=f"{failed:,} not delivered" if failed else "",
        remedy=MESSAGE_REMEDY if failed else "",
        at=timezone.now(),
        url=reverse_lazy("admin-system", query={"tab": "work"}),
    )
