"""The history of configuration: ties each entry of django-auditlog into the chain.

Settings list the followed models and excluded fields (AUDITLOG_INCLUDE_TRACKING_MODELS); a system check
refuses a model whose sealed or secret columns would be copied into an entry.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid5

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.http import HttpRequest

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.check_registry import Problem
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import canonical_json, parsed_details, utc_text
from core.errors import BadDetails

_ENTRIES_PER_QUERY = 500
_current: ContextVar[HttpRequest | None] = ContextVar("request_in_history", default=None)


@contextmanager
def request_in_history(request: HttpRequest) -> Iterator[None]:
    """Attribute changes made inside to the request's principal and address."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)


def attribute_entry(instance: LogEntry, **_signal: Any) -> None:
    """Name who made the change, and from where, before an entry is saved."""
    if not instance._state.adding:
        return
    instance.changes = _of_columns(instance)
    acting = _acting()
    if acting.kind is not ActorKind.USER:
        # The entry's own column takes people alone; a token, a command or a task has a name as well.
        instance.additional_data = {"actor": f"{acting.kind} {acting.name}"}
    request = _current.get()
    if request is None:
        return
    instance.remote_addr = getattr(request, "client_address", "") or None
    instance.cid = getattr(request, "request_id", None)
    user = getattr(request, "user", None)
    if instance.actor is None and isinstance(user, get_user_model()):
        instance.actor = user
        instance.actor_email = getattr(user, "email", None)


def tie_entry(instance: LogEntry, *, created: bool, **_signal: Any) -> None:
    """Record a new entry's digest, in the transaction of the change itself."""
    if not created:
        return
    record(
        actor=_acting(),
        action=Action.CONFIGURATION_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("log-entry", entry_uuid(instance.pk), instance.object_repr[:500]),
        details={"entry": instance.pk, "digest": entry_digest(instance), "model": _model_label(instance)},
    )


def entry_uuid(pk: int) -> UUID:
    """Return the uuid under which the audit log knows an entry."""
    return uuid5(deployment_uuid(), f"log-entry:{pk}")


def entry_digest(entry: LogEntry) -> str:
    """Return the hexadecimal SHA-256 over an entry's content."""
    said = {
        "action": entry.action,
        "actor": entry.actor_id,
        "additional_data": entry.additional_data,
        "address": entry.remote_addr,
        "changes": entry.changes,
        "model": _model_label(entry),
        "object": [str(entry.object_pk), entry.object_id, str(entry.object_repr)],
        "request_id": entry.cid,
        "serialized_data": entry.serialized_data,
        "timestamp": utc_text(entry.timestamp),
    }
    # Once through JSON, so that what is about to be stored equals what is read back.
    return hashlib.sha256(canonical_json(json.loads(json.dumps(said, cls=DjangoJSONEncoder)))).hexdigest()


def exposed_fields(model: type[models.Model], forbidden: frozenset[str]) -> list[str]:
    """Return the sealed or secret columns of a followed model that its entries would copy."""
    tracked = auditlog.get_model_fields(model)
    included, excluded = set(tracked["include_fields"]), set(tracked["exclude_fields"])
    return [
        field.name
        for field in model._meta.concrete_fields
        if (field.get_internal_type() == "BinaryField" or field.name in forbidden)
        and field.name not in excluded
        and (not included or field.name in included)
    ]


def log_entries() -> Iterator[Problem]:
    """Compare every entry with its event in the audit log, both ways."""
    yield from _untied_entries()
    yield from _lost_entries()


def _untied_entries() -> Iterator[Problem]:
    last = 0
    while entries := list(LogEntry.objects.filter(pk__gt=last).order_by("pk")[:_ENTRIES_PER_QUERY]):
        uuids = (entry_uuid(entry.pk) for entry in entries)
        events = AuditEvent.objects.filter(object_uuid__in=list(uuids), action=Action.CONFIGURATION_CHANGE)
        recorded = {
            uuid: str(parsed_details(details).get("digest"))
            for uuid, details in events.values_list("object_uuid", "details")
        }
        for entry in entries:
            digest = recorded.get(entry_uuid(entry.pk))
            if digest is None:
                yield _problem("inserted", entry.pk, "the entry was not recorded when it was made")
            elif digest != _digest_as_stored(entry):
                yield _problem("edited", entry.pk, "the entry is not the one that was recorded")
        last = entries[-1].pk


def _lost_entries() -> Iterator[Problem]:
    last = 0
    events = AuditEvent.objects.filter(action=Action.CONFIGURATION_CHANGE).order_by("pk")
    while rows := list(events.filter(pk__gt=last).values_list("pk", "details")[:_ENTRIES_PER_QUERY]):
        named = (parsed_details(details).get("entry") for _, details in rows)
        wanted = {entry for entry in named if isinstance(entry, int)}
        found = set(LogEntry.objects.filter(pk__in=wanted).values_list("pk", flat=True))
        for pk in sorted(wanted - found):
            yield _problem("missing", pk, "the entry was deleted")
        last = rows[-1][0]


def _digest_as_stored(entry: LogEntry) -> str:
    """Return the digest of an entry; an empty one, which none equals, if it is no entry any more."""
    try:
        return entry_digest(entry)
    except (ValueError, TypeError, AttributeError, BadDetails, ObjectDoesNotExist):
        return ""


def _problem(kind: str, pk: int, message: str) -> Problem:
    return Problem(kind=kind, object=f"configuration history entry {pk}", message=message)


def _of_columns(entry: LogEntry) -> Any:
    """Return the changes of a row's own columns: django-auditlog also names what refers to a new row."""
    model = entry.content_type.model_class()
    if model is None or not isinstance(entry.changes, dict):
        return entry.changes
    own = {field.name for field in (*model._meta.concrete_fields, *model._meta.many_to_many)}
    return {name: change for name, change in entry.changes.items() if name in own}


def _acting() -> Actor:
    request = _current.get()
    if request is None:
        return actors.system()
    principal = getattr(request, "principal", None)
    if isinstance(principal, Actor):
        return principal
    return actors.anonymous(getattr(request, "client_address", ""), getattr(request, "request_id", ""))


def _model_label(entry: LogEntry) -> str:
    return f"{entry.content_type.app_label}.{entry.content_type.model}"
