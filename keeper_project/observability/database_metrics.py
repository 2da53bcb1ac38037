"""Gauges that are read from the database on each scrape: queues, leases, keys, the worker's heartbeat."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from audit_app.checkpoints.signing import SIGNING
from audit_app.models import Checkpoint, SinkState
from audit_app.queries import search_index, usage_index
from audit_app.sinks.delivery import lag
from audit_app.sinks.registry import Sink, checkpoint_sinks, event_sinks
from core.errors import ServiceAway
from core.workers import BoundedCalls
from environments_app.models.notification import Delivery, DeliveryState
from operations_app.health.processes import last_beat
from operations_app.models import ExternalSystem, SystemState
from secrets_app.key_operations.key_check import failing_data_keys
from sync_app.domain.rotation_state import Slot, Step, slot_of
from sync_app.models import Rotation, RotationPolicy, Run, Target
from sync_app.models.run import RunState
from sync_app.rotation.status import status_condition


def gauge(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels; None omits its sample."""
    return GaugeMetricFamily(name, help_text, value=value)


def age(moment: datetime | None) -> float:
    """Return how many seconds ago something was; none for what never was."""
    return max(0.0, (timezone.now() - moment).total_seconds()) if moment else 0.0


Ask = Callable[[], list[GaugeMetricFamily]]

_SERVING: Final = frozenset({SystemState.OK, SystemState.DEGRADED})


def system_gauges() -> Iterator[GaugeMetricFamily]:
    """Yield whether each system that is set up answered a worker, and how long ago that was."""
    up = GaugeMetricFamily(
        "keeper_system_up", "Whether a system answered when it was asked.", labels=["system"]
    )
    ailing = GaugeMetricFamily(
        "keeper_system_failures", "How often in a row it ailed when it was asked.", labels=["system"]
    )
    asked = GaugeMetricFamily("keeper_system_check_age_seconds", "Since it was asked.", labels=["system"])
    for row in ExternalSystem.objects.exclude(checked_at=None).exclude(state=SystemState.OFF):
        up.add_metric([row.kind], float(row.state in _SERVING))
        ailing.add_metric([row.kind], row.failures)
        asked.add_metric([row.kind], age(row.checked_at))
    yield from (up, ailing, asked)


def trail_gauges() -> Iterator[GaugeMetricFamily]:
    """Yield how old the newest checkpoint is, when signing last worked, and what each kind of sink lacks."""
    newest = Checkpoint.objects.order_by("number").last()
    yield gauge(
        "keeper_checkpoint_age_seconds",
        "Since the newest checkpoint; where nothing happens one is made an hour.",
        age(newest.at) if newest else None,
    )
    yield gauge(
        "keeper_search_behind", "Events that the search of the audit log lacks.", search_index.behind()
    )
    yield gauge("keeper_usage_behind", "Events that the counts of use lack.", usage_index.behind())
    states = {state.name: state for state in SinkState.objects.all()}
    signing = states.get(SIGNING)
    yield gauge(
        "keeper_trail_signing_age_seconds",
        "Since the audit log was found sound and signed, or had nothing new to sign.",
        age(signing.succeeded_at) if signing and signing.succeeded_at else None,
    )
    behind = GaugeMetricFamily(
        "keeper_sink_behind",
        "Checkpoints or events that the last of these sinks lacks.",
        labels=["takes", "sink"],
    )
    failures = GaugeMetricFamily(
        "keeper_sink_failures",
        "Deliveries in a row that the worst of these sinks refused.",
        labels=["takes", "sink"],
    )
    number = newest.number if newest else 0
    for takes, sinks, lacks in (
        ("checkpoints", checkpoint_sinks(), lambda found: max(number - state.position for state in found)),
        ("events", event_sinks(), lag),
    ):
        for kind, found in _by_kind(sinks, states).items():
            behind.add_metric([takes, kind], max(0, lacks(found)))
            failures.add_metric([takes, kind], max(state.failures for state in found))
    yield from (behind, failures)


def _by_kind(sinks: Sequence[Sink], states: Mapping[str, SinkState]) -> dict[str, list[SinkState]]:
    """Return the states of sinks that have begun, by the kind of sink."""
    found: dict[str, list[SinkState]] = {}
    for sink in sinks:
        if sink.name in states:
            found.setdefault(sink.kind, []).append(states[sink.name])
    return found


_ACTIVE: Final = (RunState.QUEUED, RunState.RUNNING)
_AT_WORK: Final = tuple(step for step in Step if slot_of(step) == Slot.WORKING)


def database_gauges() -> list[GaugeMetricFamily]:
    """Ask the database, by a handful of statements on indexed columns. Raises DatabaseError."""
    return list(_gauges())


def absent() -> list[GaugeMetricFamily]:
    """Stand in for a database that hangs. Raises ServiceAway."""
    raise ServiceAway("the database gives no answer")


_calls: Final = BoundedCalls("gauges", seconds=5.0, rest=5.0, failures=(DatabaseError,))


def bounded_gauges() -> list[GaugeMetricFamily]:
    """Ask the database for so long, in a thread of its own. Raises DatabaseError or ServiceAway."""

    def ask() -> list[GaugeMetricFamily]:
        close_old_connections()
        return database_gauges()

    return _calls.run(ask)


class StateCollector(Collector):
    """Asks the database at each scrape.

    While it does not answer, `keeper_database_up` is 0 and the gauges are absent.
    """

    def __init__(self, ask: Ask = database_gauges) -> None:
        self._ask = ask

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            found = self._ask()
        except (DatabaseError, ServiceAway):
            yield gauge("keeper_database_up", "Whether the database answers.", 0)
            return
        yield gauge("keeper_database_up", "Whether the database answers.", 1)
        yield from found

    def describe(self) -> list[GaugeMetricFamily]:
        """Describe nothing, so that registering asks no database."""
        return []


def _gauges() -> Iterator[GaugeMetricFamily]:
    yield from _runs()
    failing = Target.objects.filter(failures__gt=0).count()
    yield gauge("keeper_sync_targets_failing", "Targets whose last pass failed.", failing)
    yield from _rotations()
    yield from _notifications()
    yield from system_gauges()
    yield from trail_gauges()
    yield gauge("keeper_data_keys_failing", "Data keys that do not open.", failing_data_keys().count())
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
    late = living.filter(status_condition("overdue", now)).count()
    yield gauge("keeper_rotations_overdue", "Policies an hour or more behind their cadence.", late)


def _notifications() -> Iterator[GaugeMetricFamily]:
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING).aggregate(
        number=Count("pk"), oldest=Min("created_at")
    )
    yield gauge("keeper_notifications_waiting", "Messages that are not out yet.", waiting["number"])
    yield gauge("keeper_notification_queue_age_seconds", "The oldest of them.", age(waiting["oldest"]))
