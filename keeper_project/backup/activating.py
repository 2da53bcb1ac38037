"""Makes this installation the active one, and lets its trail go on from where a backup left it."""

import logging

from audit_app.actions import Action
from audit_app.checkpointing import resume
from audit_app.errors import AnchorUnavailable, NothingToResume
from audit_app.installation import activate
from environments_app.policy import Principal, require

_log = logging.getLogger(__name__)


def activate_here(*, actor: Principal) -> int:
    """Let this installation act and no other of the deployment; return its epoch.

    After a restore the trail is older than the newest checkpoint of a sink: that it goes on without
    that one is recorded, and every verification says so. Goes over the network.
    Raises Forbidden, LeaseUnwritable, KeyringUnavailable.
    """
    require(actor=actor, action=Action.DEPLOYMENT_ACTIVATE, environment=None)
    row = activate(actor=actor)
    if row.backup is not None:
        try:
            resume(actor=actor, reason=f"restored from backup {row.backup}")
        except NothingToResume:
            pass
        except AnchorUnavailable as error:
            _log.warning("run `keeper checkpoint --resume` once a sink answers: %s", error)
    return row.epoch
