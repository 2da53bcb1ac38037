"""What is measured of work on targets and of rotations, by words of `RunKind`, `RunState` and `Step`."""

from typing import Final

from prometheus_client import Counter, Histogram

from sync_app.models import Rotation, Run

_SECONDS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

RUNS: Final = Counter("keeper_sync_runs", "Runs that ended.", ["kind", "state"])
RUN_ITEMS: Final = Counter(
    "keeper_sync_items", "Items of runs that ended; outcome is done, failed or skipped.", ["outcome"]
)
RUN_SECONDS: Final = Histogram(
    "keeper_sync_run_seconds", "From a run's first start to its end.", ["kind"], buckets=_SECONDS
)

ROTATIONS: Final = Counter(
    "keeper_rotations", "Rotations that ended, or stopped for an operator.", ["rotator", "outcome"]
)
ROTATION_SECONDS: Final = Histogram(
    "keeper_rotation_seconds", "From a rotation's start until its value is served.", buckets=_SECONDS
)


def count_run(run: Run) -> None:
    """Count a run that this worker ended; one that waits for another attempt is counted when it ends."""
    if run.active or run.finished_at is None or run.started_at is None:
        return
    RUNS.labels(run.kind, run.state).inc()
    RUN_ITEMS.labels("done").inc(run.written)
    RUN_ITEMS.labels("failed").inc(run.failed)
    RUN_ITEMS.labels("skipped").inc(run.skipped)
    RUN_SECONDS.labels(run.kind).observe((run.finished_at - run.started_at).total_seconds())


def count_rotation(rotation: Rotation, *, was_served: bool) -> None:
    """Count a rotation that this worker ended, stopped, or brought so far that its value is served.

    `was_served` is the state before this worker had it.
    """
    if rotation.started_at and rotation.promoted_at and not was_served:
        ROTATION_SECONDS.observe((rotation.promoted_at - rotation.started_at).total_seconds())
    if rotation.has_ended or rotation.stopped_at is not None:
        outcome = rotation.step if rotation.has_ended else "stopped"
        ROTATIONS.labels(rotation.policy.rotator, outcome).inc()
