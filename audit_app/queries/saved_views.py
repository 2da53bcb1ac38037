"""Saves filters of the list of events, finds them again, and removes them."""

from collections.abc import Collection
from typing import Final

from django.db.models import Q, QuerySet

from audit_app.events.actors import Actor, ActorKind
from audit_app.interfaces import audit_log_policy
from audit_app.models.saved_view import MAX_QUERY, SavedView

MAX_NAME: Final = 60
MAX_VIEWS: Final = 50
_MOST_SHOWN: Final = 100


def views_for(viewer: Actor, *, environments: Collection[str]) -> QuerySet[SavedView]:
    """Return a person's own views, and the shared ones whose events they can see.

    Filters may name secrets. So a shared view of an environment is shown to those who can read its events,
    and one of no environment to those who can read all events.
    """
    shared = Q(environment__in=list(environments))
    if audit_log_policy().readable_streams(viewer) is None:
        shared |= Q(environment="")
    mine = Q(owner_uuid=viewer.uuid)
    return SavedView.objects.filter(mine | Q(shared, shared=True)).order_by("name", "id")[:_MOST_SHOWN]


def save(*, viewer: Actor, name: str, query: str, environment: str, shared: bool) -> str:
    """Save filters under a name, in place of the person's earlier view of this name.

    Return why it was refused, as a sentence for its person; "" if it was saved.
    """
    name = name.strip()
    if viewer.kind is not ActorKind.USER or not name or len(name) > MAX_NAME or not name.isprintable():
        return f"Enter a name of 1 to {MAX_NAME} characters."
    if not query or len(query) > MAX_QUERY:
        return "Set a filter first." if not query else "These filters are too long to be saved."
    own = SavedView.objects.filter(owner_uuid=viewer.uuid)
    if own.count() >= MAX_VIEWS and not own.filter(name=name).exists():
        return f"You have {MAX_VIEWS} saved views. Delete one first."
    SavedView.objects.update_or_create(
        owner_uuid=viewer.uuid,
        name=name,
        defaults={"owner_name": viewer.name, "query": query, "environment": environment, "shared": shared},
    )
    return ""


def remove(*, viewer: Actor, id: int) -> bool:
    """Remove a view of the viewer's own; return whether there was one."""
    return bool(SavedView.objects.filter(pk=id, owner_uuid=viewer.uuid).delete()[0])
