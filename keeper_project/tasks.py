"""Scheduled work of the project itself; tasks carry no arguments."""

from celery import shared_task
from django.core.management import call_command

from keeper_project.heartbeat import beat


@shared_task(name="keeper_project.tasks.beat_heartbeat")
def beat_heartbeat() -> None:
    """Show that beat sends and a worker works."""
    beat()


@shared_task(name="keeper_project.tasks.clear_sessions")
def clear_sessions() -> None:
    """Delete the sessions that have ended."""
    call_command("clearsessions")
