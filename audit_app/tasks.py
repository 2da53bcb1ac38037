"""Scheduled work of audit_app; tasks carry no arguments and only nudge what is due."""

from celery import shared_task

from audit_app.refusals import record_due


@shared_task(name="audit_app.tasks.record_refusals")
def record_refusals() -> None:
    """Write the events of the minutes that are over."""
    record_due()
