"""The rows of a list of the admin as a CSV file, recorded before it is made."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.contrib.admin.utils import label_for_field, lookup_field
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import strip_tags

from audit_app.admin_pages.columns import Column, plain
from audit_app.crypto.canonical_json import Json
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.interfaces.access_policy import viewer_of
from audit_app.models import deployment_uuid
from audit_app.queries.event_export import harmless
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record

# A file is written in memory.
LIMIT: Final = 10_000


def export_csv(request: HttpRequest, changes: ChangeList) -> HttpResponse:
    """Return the first LIMIT rows of a list as CSV, after recording who took which list by which filters."""
    model = changes.model._meta
    # Only the names of the filters: what was typed may be anything.
    filters: list[Json] = [*sorted(name for name, value in request.GET.items() if value)]
    commit_record(
        actor=viewer_of(request),
        action=Action.LIST_EXPORT,
        stream=streams.SYSTEM,
        object=AuditObject("list", deployment_uuid(), model.label),
        details={"format": "csv", "filters": filters},
    )
    name = f"{model.model_name}-{timezone.now():%Y%m%dT%H%M%SZ}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(_as_csv(changes), content_type="text/csv; charset=utf-8", headers=headers)


def _as_csv(changes: ChangeList) -> str:
    columns = [column for column in changes.list_display if column != "action_checkbox"]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([label_for_field(_name(each), changes.model, changes.model_admin) for each in columns])
    for row in changes.queryset[:LIMIT].iterator(chunk_size=1_000):
        writer.writerow([harmless(text) for text in _texts(changes, columns, row)])
    return out.getvalue()


def _texts(changes: ChangeList, columns: Sequence[Any], row: Any) -> Iterator[str]:
    for column in columns:
        if isinstance(column, Column):
            yield plain(column.value(row))
        else:
            _, _, value = lookup_field(column, row, changes.model_admin)
            yield strip_tags(plain(value)).strip()


def _name(column: Any) -> Any:
    return column.name if isinstance(column, Column) else column
