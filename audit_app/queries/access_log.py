"""Records reads of the audit log itself (PCI DSS 4.0.1, 10.2.1.3; ADR 17)."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, cast

from django.core.cache import cache

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.interfaces import audit_log_policy
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.queries import search
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json, canonical_json, utc_text

# To read on in what one looks at, or to look again, is one view.
_ONE_VIEW_SECONDS: Final = 60
# What these hold was chosen from a list, or found; any other filter is typed, and may be anything.
_CHOSEN: Final = frozenset(
    {"action", "actions", "outcome", "environment", "event", "mine", "reader", "system", "period"}
)


def record_view(*, viewer: Actor, face: str, filters: Mapping[str, object], always: bool = False) -> None:
    """Record that `viewer` reads the audit log by a page or the API, and by which filters, before they do.

    Of what was typed only that something was: people paste into a search what belongs into no record. The
    same view again within a minute is not recorded again; who may read nothing has viewed nothing, except
    their own use (`always`).
    """
    if (
        not always
        and audit_log_policy().readable_streams(viewer) == []
        and not search.reads_own_alone(viewer)
    ):
        return
    # Typed filters distinguish views here, and are stored nowhere.
    view = canonical_json([str(viewer.uuid), face, {name: str(filters[name]) for name in _used(filters)}])
    key = f"audit_app.view.{hashlib.sha256(view).hexdigest()}"
    if cache.get(key):
        return
    _commit(viewer, Action.TRAIL_VIEW, {"face": face, "filters": _filters(viewer, filters)})
    # Not before: a view that could not be recorded is asked for again.
    cache.set(key, 1, timeout=_ONE_VIEW_SECONDS)


def record_export(*, viewer: Actor, form: str, filters: Mapping[str, object]) -> None:
    """Record that `viewer` takes events as a file of a format, and by which filters, before they do."""
    _commit(viewer, Action.TRAIL_EXPORT, {"format": form, "filters": _filters(viewer, filters)})


def viewed_event(*, viewer: Actor, face: str, **which: object) -> AuditEvent | None:
    """Return an event that `viewer` may read, after recording that they do; None if there is none.

    `which` names it by columns. An event that they may not read is answered as if it were not there; that
    they asked for it is recorded, and not as a view.
    """
    event = _readable_event(viewer, which)
    if event is not None:
        record_view(viewer=viewer, face=face, filters={"event": str(event.pk)})
        return event
    hidden = AuditEvent.objects.filter(**which).values_list("pk", flat=True).first()
    if hidden is not None:
        details: dict[str, Json] = {"face": face, "filters": {"event": str(hidden)}}
        _commit(viewer, Action.TRAIL_VIEW, details, outcome=Outcome.DENIED)
    return None


def _readable_event(viewer: Actor, which: Mapping[str, object]) -> AuditEvent | None:
    """Return the event if it is in a stream that `viewer` may read, or is an act of theirs."""
    readable = search.events(viewer=viewer).select_related("manifest").filter(**which).first()
    if readable is not None or viewer.kind is not ActorKind.USER:
        return readable
    return search.events(viewer=viewer, actor=viewer.uuid).select_related("manifest").filter(**which).first()


def _commit(
    viewer: Actor, action: Action, details: dict[str, Json], *, outcome: Outcome = Outcome.ALLOWED
) -> None:
    commit_record(
        actor=viewer,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("trail", deployment_uuid(), "events"),
        outcome=outcome,
        details=details,
    )


def _used(filters: Mapping[str, object]) -> list[str]:
    return sorted(name for name, value in filters.items() if value)


def _filters(viewer: Actor, filters: Mapping[str, object]) -> dict[str, Json]:
    return {name: _told(viewer, name, filters[name]) for name in _used(filters)}


def _told(viewer: Actor, name: str, value: object) -> str:
    if isinstance(value, datetime):
        return utc_text(value)
    # The page offers environments in a list; in an address of the API any text may stand for one.
    is_named = name != "environment" or value in audit_log_policy().named_streams(viewer)
    if name not in _CHOSEN or not is_named:
        return "typed"
    return (
        str(value) if isinstance(value, str) else " ".join(sorted(map(str, cast("Collection[str]", value))))
    )
