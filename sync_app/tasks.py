"""Tasks of sync and rotation: they carry ids at most. All due work is a row in the database."""

from celery import shared_task

from core.workers import has_backlog, nudge, part, slot
from sync_app.jobs.queue import EXECUTE, RUN_DUE
from sync_app.migration import engine as migration_engine
from sync_app.migration import service as migrations
from sync_app.migration.service import CARRY_ON, MIGRATE_DUE
from sync_app.rotation import status as rotation_alerts
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution import schedule as rotation_schedule
from sync_app.rotation.execution.requests import ROTATE, ROTATE_DUE
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule


@shared_task(name=RUN_DUE)
def run_due() -> None:
    """Start the passes that are due, and find workers for the runs that wait."""
    if has_backlog():
        return
    for run_id in schedule.queue_due():
        nudge(EXECUTE, run_id)


@shared_task(name=EXECUTE)
def execute_run(run_id: int) -> None:
    """Carry out a run, or do nothing if another worker has it, or the slots are taken: it stays due.

    Targets take half of the long slots, and those that failed last half of that: a target that answers does
    not wait for those that do not.
    """
    with slot("sync", share=1 / 2) as is_free:
        if not is_free:
            return
        if not schedule.has_failed_last(run_id):
            runs_runner.execute(run_id)
            return
        with part("sync-failing", share=1 / 4) as is_free_too:
            if is_free_too:
                runs_runner.execute(run_id)


@shared_task(name=ROTATE_DUE)
def rotate_due() -> None:
    """Queue the rotations that are due, and find workers for those that wait or whose worker died."""
    if has_backlog():
        return
    for rotation_id in rotation_schedule.queue_due():
        nudge(ROTATE, rotation_id)


@shared_task
def correct_future_due_times() -> None:
    """Bring forward what is due later than it can be, since a clock was put back; alert what is overdue."""
    schedule.correct_future_due_times()
    rotation_schedule.correct_future_due_times()
    rotation_alerts.alert_overdue()


@shared_task(name=ROTATE)
def execute_rotation(rotation_id: int) -> None:
    """Carry a rotation on, or do nothing if another worker has it, or the slots are taken: it stays due."""
    with slot("rotation", share=1 / 4) as is_free:
        if is_free:
            execution_runner.execute(rotation_id)


@shared_task(name=MIGRATE_DUE)
def migrate_due() -> None:
    """Find workers for the migrations that wait, are looked at again, or whose worker died."""
    if has_backlog():
        return
    migrations.end_overdue()
    for migration_id in migration_engine.due_ids():
        nudge(CARRY_ON, migration_id)


@shared_task(name=CARRY_ON)
def execute_migration(migration_id: int) -> None:
    """Carry a migration on, or do nothing if another worker has it, or the slots are taken: it stays due."""
    with slot("migration", share=1 / 4) as is_free:
        if is_free:
            migration_engine.execute(migration_id)
