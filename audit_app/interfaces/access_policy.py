"""Who may read which streams of the audit log, injected from above by KEEPER_AUDIT_ACCESS_POLICY."""

from collections.abc import Mapping
from typing import Any, Protocol, cast

from django.conf import settings
from django.db.models import Q
from django.utils.module_loading import import_string

from audit_app.events.actors import Actor


class TrailPolicy(Protocol):
    """Decides what an actor may read of the audit log."""

    def readable_streams(self, actor: Actor) -> list[str] | None:
        """Return the streams that the actor may read, or None for all of them."""
        ...

    def own_events(self, actor: Actor) -> Q:
        """Return the condition on events of the actor's own acts: those that the actor may read."""
        ...

    def named_streams(self, actor: Actor) -> Mapping[str, str]:
        """Return the streams of the environments that the actor may read, by the environment's name."""
        ...


def trail_policy() -> TrailPolicy:
    """Return an instance of settings.KEEPER_AUDIT_ACCESS_POLICY."""
    return cast("TrailPolicy", import_string(settings.KEEPER_AUDIT_ACCESS_POLICY)())


def viewer_of(request: Any) -> Actor:
    """Return who makes a request, as the middleware above left it on the request."""
    principal: Actor = request.principal
    return principal
