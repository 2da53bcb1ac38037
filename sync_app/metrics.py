"""What is measured of work on targets. Labels are the words of `RunKind` and `RunState`."""

from typing import Final

from prometheus_client import Counter, Histogram

from sync_app.models import Run

_SECONDS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

RUNS: Final = Counter("keeper_sync_runs", "Runs that ended.", ["kind", "state"])
RUN_ITEMS: Final = Counter(
    "keeper_sync_items", "Items that runs carried out; outcome is done or failed.", ["outcome"]
)
RUN_SECONDS: Final = Histogram(
    "keeper_sync_run_seconds", "From a run's first start to its end.", ["kind"], buckets=_SECONDS
)


def count_run(run: Run) -> None:
    """Count a run that this worker ended; one that waits for another attempt is counted when it ends."""
    if run.active or run.finished_at is None or run.started_at is None:
        return
    RUNS.labels(run.kind, run.state).inc()
    RUN_ITEMS.labels("done").inc(run.finished)
    RUN_ITEMS.labels("failed").inc(run.failed)
    RUN_SECONDS.labels(run.kind).observe((run.finished_at - run.started_at).total_seconds())
