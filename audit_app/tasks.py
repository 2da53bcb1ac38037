"""Scheduled work of audit_app; tasks carry no arguments and only nudge what is due."""

import logging

from celery import shared_task
from celery.signals import worker_shutdown
from django.db import DatabaseError

from audit_app.checkpoints.schedule import anchor_trail
from audit_app.errors import AuditError
from audit_app.network.refusal_limiter import record_due
from audit_app.retention.schedule import prune_if_due
from audit_app.sinks.delivery import deliver_events

_log = logging.getLogger(__name__)


@shared_task(name="audit_app.tasks.record_refusals")
def record_refusals() -> None:
    """Write the events of the minutes that are over."""
    record_due()


@shared_task(name="audit_app.tasks.make_checkpoint")
def make_checkpoint() -> None:
    """Sign the heads of all streams, and deliver what the sinks lack."""
    anchor_trail()


@shared_task(name="audit_app.tasks.stream_events")
def stream_events() -> None:
    """Give the sinks of events what was committed since."""
    deliver_events()


@shared_task(name="audit_app.tasks.prune_trail")
def prune_trail() -> None:
    """Take out of the audit log what is older than its retention, if there is one."""
    prune_if_due()


@worker_shutdown.connect
def make_last_checkpoint(**_signal: object) -> None:
    """Sign once more what a worker that ends leaves behind; what fails now is made up for later."""
    try:
        anchor_trail(at_once=True)
    except (AuditError, DatabaseError) as error:
        _log.warning("no checkpoint at the end of the worker: %s", error)
