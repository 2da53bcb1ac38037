"""The secrets that a person worked with last, by their own events."""

from typing import Final
from uuid import UUID

from django.db.models import Q

from audit_app.events.actions import Outcome
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Principal

MOST: Final = 20
# However much else a person did, a page costs the same.
_LOOKED_AT: Final = 500


def recent(actor: Principal) -> Q:
    """Return the condition on the secrets that the actor read or changed last, MOST at most."""
    if actor.kind is not ActorKind.USER:
        return Q(pk__in=())
    rows = AuditEvent.objects.filter(actor_uuid=actor.uuid).order_by("-id")
    found: dict[UUID, None] = {}
    for kind, outcome, uuid in rows.values_list("object_kind", "outcome", "object_uuid")[:_LOOKED_AT]:
        if kind == "secret" and outcome == Outcome.ALLOWED:
            found[uuid] = None
        if len(found) == MOST:
            break
    return Q(uuid__in=list(found))
