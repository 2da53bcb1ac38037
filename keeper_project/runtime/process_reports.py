"""Records and alerts when a process of `keeper run` ended and was restarted.

Runs in a separate process, because the supervisor holds no connection and never blocks.
"""

import logging
from typing import Final
from uuid import UUID, uuid5

from django.db import DatabaseError
from django.urls import reverse

from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.errors import KeeperError
from environments_app.notifications.service import deliver_due, raise_alert, resolve_alert
from keeper_project.runtime.supervisor import Incident
from operations_app.health.processes import ending

KIND: Final = "process.restarted"
_REMEDY: Final = "Its log lines say why. Pages and API keep answering while the worker is away."
logger = logging.getLogger(__name__)


def report(incident: Incident) -> None:
    """Record an incident and raise its alert, or resolve it where the process runs steadily again."""
    try:
        _record(incident)
        _tell(incident)
    except (DatabaseError, KeeperError) as error:
        logger.warning(
            "the end of the %s was not recorded (%s)",
            incident.name,
            type(error).__name__,
            extra={"cause": error},
        )


def deliver() -> None:
    """Send the messages that are due: the worker that would send them may be the process that ended."""
    try:
        deliver_due()
    except (DatabaseError, KeeperError) as error:
        logger.warning(
            "the message about a restart waits for a worker (%s)",
            type(error).__name__,
            extra={"cause": error},
        )


def _record(incident: Incident) -> None:
    ended = incident.exit_code is not None
    commit_record(
        actor=actors.system(),
        action=Action.PROCESS_RESTART,
        stream=streams.SYSTEM,
        object=AuditObject("process", _about(incident), incident.name),
        outcome=Outcome.FAILED if ended else Outcome.ALLOWED,
        details={
            "exit_code": incident.exit_code,
            "failures": incident.failures,
            "wait_seconds": round(incident.wait_seconds),
        },
    )


def _tell(incident: Incident) -> None:
    link = reverse("health")
    if incident.exit_code is None:
        subject = f"The {incident.name} runs steadily again"
        resolve_alert(kinds=[KIND], about=_about(incident), subject=subject, link=link)
        return
    raise_alert(
        kind=KIND,
        about=_about(incident),
        environment=None,
        subject=f"The {incident.name} {ending(incident.exit_code)} and is restarted",
        lines=[_REMEDY],
        link=link,
    )


def _about(incident: Incident) -> UUID:
    return uuid5(deployment_uuid(), f"process:{incident.name}")
