"""Tasks of the sync: they carry ids at most, and only nudge what stands in the database."""

from celery import shared_task

from sync_app import runs, schedule
from sync_app.queueing import EXECUTE, RUN_DUE, nudge


@shared_task(name=RUN_DUE)
def run_due() -> None:
    """Start the passes that are due, and find workers for the runs that wait."""
    for run_id in schedule.due():
        nudge(EXECUTE, run_id)


@shared_task(name=EXECUTE)
def execute_run(run_id: int) -> None:
    """Carry out a run, or do nothing if another worker has it."""
    runs.execute(run_id)
