"""Gauges that are read from the database when somebody looks: queues, leases, keys, the worker's pulse."""

from collections.abc import Iterator
from typing import Final

from django.db import Error as DatabaseError
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from environments_app.models.notification import Delivery, DeliveryState
from keeper_project.gauges import age, gauge
from keeper_project.heartbeat import last_beat
from keeper_project.system_metrics import system_gauges, trail_gauges
from secrets_app.canary import failing
from sync_app.models import Rotation, RotationPolicy, Run, Target
from sync_app.models.run import RunState
from sync_app.rotation.standing import having
from sync_app.rotation.states import Slot, Step, slot_of

_ACTIVE: Final = (RunState.QUEUED, RunState.RUNNING)
_AT_WORK: Final = tuple(step for step in Step if slot_of(step) == Slot.WORKING)


class StateCollector(Collector):
    """Asks the database at each scrape, by a handful of statements on indexed columns.

    While it does not answer, `keeper_database_up` is 0 and the gauges are absent.
    """

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        try:
            found = list(_gauges())
        except DatabaseError:
            yield gauge("keeper_database_up", "Whether the database answers.", 0)
            return
        yield gauge("keeper_database_up", "Whether the database answers.", 1)
        yield from found

    def describe(self) -> list[GaugeMetricFamily]:
        """Describe nothing, so that registering asks no database."""
        return []


def _gauges() -> Iterator[GaugeMetricFamily]:
    yield from _runs()
    yield from _targets()
    yield from _rotations()
    yield from _notifications()
    yield from system_gauges()
    yield from trail_gauges()
    yield gauge("keeper_data_keys_failing", "Data keys that do not open.", failing().count())
    beat = last_beat()
    if beat is not None:
        yield gauge("keeper_worker_heartbeat_age_seconds", "Since a worker last beat.", age(beat))


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
    yield gauge("keeper_sync_expired_leases", "Runs whose worker is gone.", counts["expired"])
    yield gauge("keeper_sync_queue_age_seconds", "The oldest run that waits.", age(counts["oldest"]))


def _targets() -> Iterator[GaugeMetricFamily]:
    failing_targets = Target.objects.filter(failures__gt=0).count()
    yield gauge("keeper_sync_targets_failing", "Targets whose last pass failed.", failing_targets)


def _rotations() -> Iterator[GaugeMetricFamily]:
    now = timezone.now()
    working = Rotation.objects.filter(slot=Slot.WORKING).aggregate(
        **{str(step): Count("pk", filter=Q(step=step)) for step in _AT_WORK},
        stopped=Count("pk", filter=Q(stopped_at__isnull=False)),
        expired=Count("pk", filter=Q(stopped_at__isnull=True, lease_until__lt=now)),
    )
    family = GaugeMetricFamily("keeper_rotations_active", "Rotations at work, by step.", labels=["step"])
    for step in _AT_WORK:
        family.add_metric([str(step)], working[str(step)])
    yield family
    yield gauge("keeper_rotations_stopped", "Rotations that wait for an operator.", working["stopped"])
    yield gauge("keeper_rotation_expired_leases", "Rotations whose worker is gone.", working["expired"])
    living = RotationPolicy.objects.filter(live=True)
    late = living.filter(having("overdue", now)).count()
    yield gauge("keeper_rotations_overdue", "Policies an hour or more behind their cadence.", late)


def _notifications() -> Iterator[GaugeMetricFamily]:
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING).aggregate(
        number=Count("pk"), oldest=Min("created_at")
    )
    yield gauge("keeper_notifications_waiting", "Messages that are not out yet.", waiting["number"])
    yield gauge("keeper_notification_queue_age_seconds", "The oldest of them.", age(waiting["oldest"]))
