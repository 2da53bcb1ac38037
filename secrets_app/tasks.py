"""Scheduled work of secrets_app; tasks carry no arguments and only nudge what is due."""

from celery import shared_task

from secrets_app.retention import purge_expired


@shared_task(name="secrets_app.tasks.purge_deleted")
def purge_deleted() -> None:
    """Destroy the deleted secrets whose recovery window is over."""
    purge_expired()
