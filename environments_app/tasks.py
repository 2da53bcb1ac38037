"""Scheduled work of environments_app; tasks carry no arguments and only nudge what is due."""

from celery import shared_task

from environments_app.notifications import deliver_due


@shared_task(name="environments_app.tasks.deliver_notifications")
def deliver_notifications() -> None:
    """Send the notifications that are due."""
    deliver_due()
