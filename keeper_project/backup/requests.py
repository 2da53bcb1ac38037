"""Requests for backups and proofs: a page stores a row, and a worker carries it out."""

import logging
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from audit_app.events.actors import Actor, ActorKind
from audit_app.interfaces.nudges import nudge
from core.db.concurrency import claim, unleased
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import load_principal
from environments_app.errors import AccessError
from keeper_project.backup import service as backup
from keeper_project.backup.errors import BackupError
from keeper_project.models import BackupRequest

CARRY_OUT: Final = "keeper_project.tasks.carry_out_backup_requests"
# Longer than a backup or a proof takes: after it, a request whose worker died is carried out again, once.
_LEASE: Final = timedelta(hours=1)
_ATTEMPTS: Final = 2
# A request that came with a restored database is for a backup of days ago.
_STALE_AFTER: Final = timedelta(days=1)
_log = logging.getLogger(__name__)


def request(*, actor: Principal, name: str = "") -> None:
    """Ask a worker for a backup, or for the proof of the one called `name`; the request is recorded.

    Raises Forbidden, or Malformed if there is none of this name.
    """
    backup.request(actor=actor, name=name)
    BackupRequest.objects.create(person=actor.uuid, name=name)
    nudge(CARRY_OUT)


def run() -> None:
    """Carry out the requests that wait, each by one worker."""
    BackupRequest.objects.filter(requested_at__lt=timezone.now() - _STALE_AFTER).delete()
    for pk in BackupRequest.objects.filter(unleased(timezone.now(), _LEASE)).values_list("pk", flat=True):
        now = timezone.now()
        changes = {"lease_until": now + _LEASE, "attempts": F("attempts") + 1}
        row = claim(BackupRequest.objects.all(), pk, unleased(now, _LEASE), **changes)
        if row:
            _carry_out(row)


def _carry_out(row: BackupRequest) -> None:
    try:
        if row.attempts <= _ATTEMPTS:
            actor = load_principal(Actor(kind=ActorKind.USER, uuid=UUID(str(row.person)), name=""))
            if row.name:
                backup.verify(actor=actor, name=row.name)
            else:
                backup.make(actor=actor)
    except (AccessError, BackupError) as error:
        _log.warning("a request for a backup was not carried out (%s)", type(error).__name__)
    row.delete()
