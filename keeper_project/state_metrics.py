"""Gauges that are read from the database when somebody looks: queues, leases, keys, the worker's pulse."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.db import Error as DatabaseError
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from environments_app.models.notification import Delivery, DeliveryState
from keeper_project.heartbeat import last_beat
from secrets_app.canary import failing
from sync_app.models import Run, Target
from sync_app.models.run import RunState

_ACTIVE: Final = (RunState.QUEUED, RunState.RUNNING)


class StateCollector(Collector):
    """Asks the database at each scrape, by a handful of statements on indexed columns.

    While it does not answer, `keeper_database_up` is 0 and the gauges are absent.
    """

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        try:
            found = list(_gauges())
        except DatabaseError:
            yield _gauge("keeper_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("keeper_database_up", "Whether the database answers.", 1)
        yield from found

    def describe(self) -> list[GaugeMetricFamily]:
        """Describe nothing, so that registering asks no database."""
        return []


def _gauges() -> Iterator[GaugeMetricFamily]:
    yield from _runs()
    yield from _targets()
    yield from _notifications()
    yield _gauge("keeper_data_keys_failing", "Data keys that do not open.", failing().count())
    beat = last_beat()
    if beat is not None:
        yield _gauge("keeper_worker_heartbeat_age_seconds", "Since a worker last beat.", _age(beat))


def _runs() -> Iterator[GaugeMetricFamily]:
    now = timezone.now()
    active = Run.objects.filter(active=True)
    counts = active.aggregate(
        **{str(state): Count("pk", filter=Q(state=state)) for state in _ACTIVE},
        expired=Count("pk", filter=Q(lease_until__lt=now)),
        oldest=Min("created_at", filter=Q(state=RunState.QUEUED)),
    )
    family = GaugeMetricFamily("keeper_sync_active_runs", "Runs that are not ended.", labels=["state"])
    for state in _ACTIVE:
        family.add_metric([str(state)], counts[str(state)])
    yield family
    yield _gauge("keeper_sync_expired_leases", "Runs whose worker is gone.", counts["expired"])
    yield _gauge("keeper_sync_queue_age_seconds", "The oldest run that waits.", _age(counts["oldest"]))


def _targets() -> Iterator[GaugeMetricFamily]:
    failing_targets = Target.objects.filter(failures__gt=0).count()
    yield _gauge("keeper_sync_targets_failing", "Targets whose last pass failed.", failing_targets)


def _notifications() -> Iterator[GaugeMetricFamily]:
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING).aggregate(
        number=Count("pk"), oldest=Min("created_at")
    )
    yield _gauge("keeper_notifications_waiting", "Messages that are not out yet.", waiting["number"])
    yield _gauge("keeper_notification_queue_age_seconds", "The oldest of them.", _age(waiting["oldest"]))


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _age(moment: datetime | None) -> float:
    return max(0.0, (timezone.now() - moment).total_seconds()) if moment else 0.0
