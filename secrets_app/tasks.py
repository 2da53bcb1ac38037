"""Scheduled work of secrets_app; tasks carry ids at most and only nudge what is due."""

from collections.abc import Sequence
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready

from secrets_app import canary, sweep
from secrets_app.models import DataKey
from secrets_app.retention import purge_expired


@shared_task(name="secrets_app.tasks.purge_deleted")
def purge_deleted() -> None:
    """Destroy the deleted secrets whose recovery window is over."""
    purge_expired()


@shared_task(name="secrets_app.tasks.sweep")
def sweep_integrity() -> None:
    """Begin the sweep that is due, or carry on the one under way."""
    sweep.go_on()


@shared_task(name="secrets_app.tasks.check_keys")
def check_keys() -> None:
    """Find out whether each key in use still opens what it closed."""
    canary.check_keys()


@shared_task(name="secrets_app.tasks.check_failing_keys")
def check_failing_keys() -> None:
    """Find out whether the keys that did not open do now."""
    canary.check_failing_keys()


@shared_task(name="secrets_app.tasks.check_data_keys")
def check_data_keys(uuids: Sequence[str]) -> None:
    """Find out whether these data keys still open."""
    rows = DataKey.objects.filter(uuid__in=[UUID(uuid) for uuid in uuids])
    canary.check_data_keys(list(rows.select_related("environment")))


@worker_ready.connect
def check_keys_at_start(**_signal: object) -> None:
    """Have the keys checked when a worker starts, which cannot wait for the schedule."""
    check_keys.delay()
