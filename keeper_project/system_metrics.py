"""Gauges of the systems that Keeper needs, and of how far the trail has got out of the database.

Labels are words of `System` and kinds of sink, never an address.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from audit_app.checkpointing import SIGNING
from audit_app.event_lines import lag
from audit_app.models import Checkpoint, SinkState
from audit_app.sinks import Sink, checkpoint_sinks, event_sinks
from keeper_project.gauges import age, gauge
from keeper_project.models import ExternalSystem, SystemState

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
    states = {state.name: state for state in SinkState.objects.all()}
    signing = states.get(SIGNING)
    yield gauge(
        "keeper_trail_signing_age_seconds",
        "Since the trail was found sound and signed, or had nothing new to sign.",
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
            behind.add_metric([takes, kind], _count(lacks, found))
            failures.add_metric([takes, kind], max(state.failures for state in found))
    yield from (behind, failures)


def _count(lacks: Callable[[Sequence[SinkState]], int], found: Sequence[SinkState]) -> int:
    return max(0, lacks(found))


def _by_kind(sinks: Sequence[Sink], states: Mapping[str, SinkState]) -> dict[str, list[SinkState]]:
    """Return the states of sinks that have begun, by the kind of sink."""
    found: dict[str, list[SinkState]] = {}
    for sink in sinks:
        if sink.name in states:
            found.setdefault(sink.kind, []).append(states[sink.name])
    return found
