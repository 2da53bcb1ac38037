"""The history of an object below its page in the admin: the newest events of the audit log about it."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db import models
from django.http import HttpRequest
from django.urls import reverse

from audit_app.interfaces.access_policy import viewer_of
from audit_app.models import AuditEvent
from audit_app.queries import search

SHOWN: Final = 20


def has_history(obj: models.Model) -> bool:
    """Return whether events of the audit log can name an object: it has a UUID and is no event itself."""
    return isinstance(getattr(obj, "uuid", None), UUID) and not isinstance(obj, AuditEvent)


def history_of(request: HttpRequest, obj: models.Model) -> Sequence[AuditEvent]:
    """Return the newest events about an object that the operator may read; a bounded number of statements."""
    if not has_history(obj):
        return []
    return list(search.events(viewer=viewer_of(request), object_uuid=obj.uuid)[:SHOWN])  # type: ignore[attr-defined]  # has_history


def history_url(obj: models.Model) -> str:
    """Return the address of all events about an object in the admin."""
    return f"{reverse('admin:audit_app_auditevent_changelist')}?object_uuid={obj.uuid}"  # type: ignore[attr-defined]  # has_history
