"""Sends tasks to workers ahead of the schedule. A message is a hint: the row it names is the work."""

import logging
from functools import cache
from typing import Any, Final

from celery import current_app, current_task
from django.conf import settings
from kombu.exceptions import OperationalError

from audit_app.interfaces.bounded_calls import BoundedCalls
from core.errors import ServiceAway

# What a message may take altogether, and for how long none is sent after one that failed.
_SECONDS: Final = 2.0
_REST_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


def nudge(task: str, *arguments: int, after: float = 0) -> None:
    """Ask a worker to run a task now, or after some seconds.

    Does nothing where no worker can be reached: the schedule runs the task soon.
    """
    if settings.KEEPER_EMBEDDED_WORKER and not bool(current_task):
        # Without a broker, only tasks share memory with the worker.
        return
    calls = broker_calls()
    try:
        calls.run(
            lambda: current_app.send_task(task, args=list(arguments), countdown=after, ignore_result=True)
        )
    except ServiceAway as error:
        if error.__cause__ is not None:
            logger.warning("no worker could be nudged (%s); the schedule will find it", error)
    except calls.failures as error:
        logger.warning("no worker could be nudged (%s); the schedule will find it", type(error).__name__)


@cache
def broker_calls() -> BoundedCalls:
    """Return how the broker of this process is asked to take messages."""
    # A broker that takes no messages: a replica, a full memory, or a user who may not.
    refusals = current_app.connection_for_write().channel_errors
    return BoundedCalls(
        "broker", seconds=_SECONDS, rest=_REST_SECONDS, failures=(OperationalError, OSError, *refusals)
    )


def has_backlog() -> bool:
    """Return whether messages wait in the memory of the embedded worker; False where there is a broker.

    Each look sends a message for every row that waits. While earlier ones still wait, another look would
    only repeat them.
    """
    if not settings.KEEPER_EMBEDDED_WORKER:
        return False
    queue = current_app.conf.task_default_queue
    with current_app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return bool(channel.queue_declare(queue=queue).message_count)
