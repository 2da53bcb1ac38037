"""Makes this installation the active one, and lets its trail continue from where a backup left it."""

import logging
from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.checkpoints.signing import accept_rollback
from audit_app.errors import AnchorUnavailable, NothingToResume
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import activate, restored_at
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.environments.restore_suspension import Waiting
from environments_app.errors import Invisible
from keeper_project.backup.restore import suspendables


def waiting(*, actor: Principal) -> Iterator[Waiting]:
    """Yield what the last restore suspended and is not released. Raises Forbidden."""
    require(actor=actor, action=Action.BACKUP_VIEW, environment=None)
    since = restored_at()
    if since is not None:
        for each in suspendables():
            yield from each.waiting(since)


def release(*, actor: Principal, kind: str, uuid: UUID) -> None:
    """Let one thing act again.

    Raises Forbidden, ConfirmationNeeded, Invisible if nothing of the kind waits, and what
    `RestoreSuspension.release` raises.
    """
    require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
    require_confirmed(actor)
    since = restored_at()
    for each in suspendables():
        if each.kind == kind and since is not None:
            each.release(actor=actor, uuid=uuid, since=since)
            return
    raise Invisible("Not found.")


def changed_since(*, actor: Principal) -> Iterator[str]:
    """Yield a line for each credential or secret that is another elsewhere than in the backup.

    Goes over the network, so that this has to be the active installation. Raises Forbidden.
    """
    require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
    since = restored_at()
    if since is not None:
        for path in settings.KEEPER_RESTORE_CHECKS:
            yield from import_string(path)(since)


_log = logging.getLogger(__name__)


def activate_here(*, actor: Principal) -> int:
    """Let this installation act and no other of the deployment; return its epoch.

    After a restore the audit log is older than the newest checkpoint of a sink: its continuation without
    that one is recorded, and every verification lists it. Goes over the network. Raises Forbidden,
    LeaseUnwritable, KeyringUnavailable.
    """
    require(actor=actor, action=Action.DEPLOYMENT_ACTIVATE, environment=None)
    row = activate(actor=actor)
    if row.backup is not None:
        try:
            accept_rollback(actor=actor, reason=f"restored from backup {row.backup}")
        except NothingToResume:
            pass
        except AnchorUnavailable as error:
            _log.warning("run `keeper checkpoint --resume` once a sink answers: %s", error)
    return row.epoch
