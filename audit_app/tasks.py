"""Scheduled work of audit_app; tasks carry no arguments and only nudge what is due."""

import logging
from typing import Final

from celery import shared_task
from celery.signals import worker_shutdown
from django.db import DatabaseError

from audit_app.checkpoints.schedule import anchor_log, sign_log
from audit_app.queries import search_index, usage_index
from audit_app.recording.refusals import record_due
from audit_app.retention.schedule import prune_if_due
from audit_app.sinks import delivery
from core.errors import KeeperError
from core.workers import nudge, part, slot, work_alone

DELIVER_CHECKPOINTS: Final = "audit_app.tasks.deliver_checkpoints"
_PRUNE: Final = "audit_app.tasks.prune_trail"
_RETRY_SECONDS: Final = 60.0
# The search table of a large audit log is made in many such runs, so that none holds a thread for long.
_FILL_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


@shared_task(name="audit_app.tasks.record_refusals")
def record_refusals() -> None:
    """Write the events of the minutes that are over."""
    record_due()


@shared_task(name="audit_app.tasks.make_checkpoint")
def make_checkpoint() -> None:
    """Sign the heads of all streams, and have it delivered; not while an earlier one waits for a sink."""
    with part("checkpoint") as is_free:
        if is_free and sign_log():
            nudge(DELIVER_CHECKPOINTS)


@shared_task(name=DELIVER_CHECKPOINTS)
def deliver_checkpoints() -> None:
    """Give the sinks of checkpoints what they lack."""
    work_alone(slot("checkpoint-sinks"), delivery.deliver_checkpoints)


@shared_task(name="audit_app.tasks.stream_events")
def stream_events() -> None:
    """Give the sinks of events what was committed since.

    Two runs at once: while a sink keeps the first waiting, the second serves the others.
    """
    work_alone(slot("event-sinks", share=0.4), delivery.deliver_events)


@shared_task(name="audit_app.tasks.index_events")
def index_events() -> None:
    """Add to the search table and to the counts of use what was committed since.

    The next run continues what takes longer.
    """
    with part("search-index") as is_free:
        if is_free:
            search_index.fill(seconds=_FILL_SECONDS)
            usage_index.fill(seconds=_FILL_SECONDS)


@shared_task(name=_PRUNE)
def prune_trail() -> None:
    """Take out of the audit log what is older than its retention, if there is one."""
    with slot("prune") as is_free:
        if is_free:
            prune_if_due()
        else:
            nudge(_PRUNE, after=_RETRY_SECONDS)


@worker_shutdown.connect
def make_last_checkpoint(**_signal: object) -> None:
    """Sign once more what a worker that ends leaves behind; what fails now is made up for later."""
    try:
        anchor_log(at_once=True)
    except (DatabaseError, KeeperError) as error:
        _log.warning("no checkpoint at the end of the worker: %s", error)
