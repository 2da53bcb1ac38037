"""What still waits since a restore, and the release of each, one by one."""

from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.actions import Action
from audit_app.installation import restored_at
from environments_app.errors import Invisible
from environments_app.policy import Principal, require, require_confirmed
from environments_app.restored import Waiting
from keeper_project.backup.restoring import suspendables


def waiting(*, actor: Principal) -> Iterator[Waiting]:
    """Yield what the last restore suspended and nobody has released. Raises Forbidden."""
    require(actor=actor, action=Action.BACKUP_VIEW, environment=None)
    since = restored_at()
    if since is not None:
        for each in suspendables():
            yield from each.waiting(since)


def release(*, actor: Principal, kind: str, uuid: UUID) -> None:
    """Let one thing act again.

    Raises Forbidden, ConfirmationNeeded, Invisible if nothing of the kind waits, and what
    `Suspendable.release` raises.
    """
    require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
    require_confirmed(actor)
    since = restored_at()
    for each in suspendables():
        if each.kind == kind and since is not None:
            each.release(actor=actor, uuid=uuid, since=since)
            return
    raise Invisible("There is no such object.")


def changed_since(*, actor: Principal) -> Iterator[str]:
    """Yield a line for each credential or secret that is another elsewhere than in the backup.

    Goes over the network, so that this has to be the active installation. Raises Forbidden.
    """
    require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
    since = restored_at()
    if since is not None:
        for path in settings.KEEPER_RESTORE_PROBES:
            yield from import_string(path)(since)
