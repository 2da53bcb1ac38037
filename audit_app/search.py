"""Finds events: by who, what, where and when, also inside reads of many."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.actions import Action, Outcome
from audit_app.actors import Actor
from audit_app.models import AuditEvent, ReadManifestItem
from audit_app.policy import trail_policy


def events(
    *,
    viewer: Actor,
    actor: UUID | None = None,
    actor_name: str = "",
    action: Action | None = None,
    outcome: Outcome | None = None,
    stream: str = "",
    object_uuid: UUID | None = None,
    object_name: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[AuditEvent]:
    """Return the events that match all that is given, newest first, of what `viewer` may read.

    An object is also found in the manifests of reads of many. `since` is inclusive and
    `until` exclusive. "Newest" goes by id, which pages cheaply and no chain covers: it is an order
    to read in, and nothing may be concluded from it.
    """
    wanted = _readable(viewer)
    exact = {
        "actor_uuid": actor,
        "actor_name": actor_name,
        "action": action,
        "outcome": outcome,
        "stream": stream,
        "at__gte": since,
        "at__lt": until,
    }
    for lookup, value in exact.items():
        if value:
            wanted &= Q(**{lookup: value})
    if object_uuid is not None:
        wanted &= Q(object_uuid=object_uuid) | _read_along(secret_uuid=object_uuid)
    if object_name:
        wanted &= Q(object_name=object_name) | _read_along(name=object_name)
    return AuditEvent.objects.filter(wanted).order_by("-id")


def _readable(viewer: Actor) -> Q:
    names = trail_policy().readable_streams(viewer)
    return Q() if names is None else Q(stream__in=names)


def _read_along(**item: object) -> Q:
    return Q(manifest__in=ReadManifestItem.objects.filter(**item).values("manifest"))
