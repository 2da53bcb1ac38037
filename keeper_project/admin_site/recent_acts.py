"""The last acts of an operator, from the audit log."""

from collections.abc import Sequence
from typing import Final

from audit_app.events.actions import READS, Action
from audit_app.models import AuditEvent
from audit_app.queries import search
from environments_app.authorization.policy import Principal

SHOWN: Final = 10
# So many of the newest events are looked through: an operator who only reads has no recent act.
_LOOKED_AT: Final = 200
_OWN_SESSION: Final = frozenset({Action.SIGN_IN, Action.SIGN_OUT, Action.SESSION_CONFIRM})
_VIEW: Final = ".view"


def recent_acts(operator: Principal) -> Sequence[AuditEvent]:
    """Return the operator's last changes, newest first: neither reads, nor views, nor sign-ins."""
    own = search.events(viewer=operator, actor=operator.uuid, housekeeping=False)
    return [
        event
        for event in own[:_LOOKED_AT]
        if event.action not in READS | _OWN_SESSION and not event.action.endswith(_VIEW)
    ][:SHOWN]
