"""The pages of what happened: the list, and one record of it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from operator import attrgetter
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from audit_app.crypto.hash_chain import listed_entry
from audit_app.events import action_labels, streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.interfaces import audit_log_policy, viewer_of
from audit_app.models import LISTED_COLUMNS, AuditEvent, ReadManifestItem
from audit_app.models.saved_view import MAX_QUERY
from audit_app.queries import event_export, lines, saved_views, search, search_index
from audit_app.queries.access_log import record_export, record_view, viewed_event
from audit_app.queries.search import read_versions
from audit_app.recording import event_store
from audit_app.verification.stream_walker import digest_of_stored, has_valid_mac
from core.canonical_json import parsed_details
from core.pagination import DEFAULT_LIMIT, KeysetPagination

ITEMS_SHOWN: Final = 500
_PERIODS: Final = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}


class EventFilterForm(forms.Form):
    q = forms.CharField(required=False, label="Search")
    action = forms.ChoiceField(
        required=False,
        label="Event",
        choices=[
            ("", "All events"),
            (search.EVERY_READ, "All access to values"),
            *((heading, f"{heading}: all events") for heading in action_labels.HEADINGS),
            *((a.value, action_labels.action_name(a.value)) for a in Action),
        ],
    )
    period = forms.ChoiceField(
        required=False,
        label="Period",
        choices=[("", "Any time"), ("24h", "Last 24 hours"), ("7d", "Last 7 days"), ("30d", "Last 30 days")],
    )
    outcome = forms.ChoiceField(
        required=False, choices=[("", "Any outcome"), *((o.value, o.value.capitalize()) for o in Outcome)]
    )
    environment = forms.ChoiceField(required=False)
    mine = forms.BooleanField(required=False, label="Only my events")
    system = forms.BooleanField(required=False, label="Show system events")
    actor = forms.CharField(required=False, label="Actor")
    object = forms.CharField(required=False, label="Resource")
    address = forms.CharField(required=False, label="IP address")
    request_id = forms.CharField(required=False, label="Request ID")
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, given: Any, *, viewer: Actor, environments: Iterable[str]) -> None:
        super().__init__(given)
        self.viewer = viewer
        choices = [("", "Any environment"), *((name, name) for name in environments)]
        self.fields["environment"] = forms.ChoiceField(required=False, choices=choices)

    @property
    def conditions(self) -> dict[str, Any]:
        """The filters in the words of `search.events`; one that cannot be is left out."""
        self.is_valid()
        fields = self.cleaned_data
        until = fields.get("until")
        return {
            **search.acts(fields.get("action", "")),
            "outcome": fields.get("outcome") or None,
            "environment": fields.get("environment", ""),
            "actor": self.viewer.uuid if fields.get("mine") else None,
            "actor_name": fields.get("actor", ""),
            "object_name": fields.get("object", ""),
            "address": fields.get("address", ""),
            "request_id": fields.get("request_id", ""),
            "text": fields.get("q", ""),
            "since": _midnight(fields.get("since")) or _begin(fields.get("period", "")),
            # The last day is meant as a whole.
            "until": _midnight(until and until + timedelta(days=1)),
            # A filter by one event shows it, whatever it is.
            "housekeeping": bool(fields.get("system") or fields.get("action")),
        }

    @property
    def recorded(self) -> dict[str, Any]:
        """The filters as the audit log records them: the system's events only where they are shown."""
        conditions = self.conditions
        # The start of a period moves with the clock; the record names the period.
        if self.cleaned_data.get("period") and not self.cleaned_data.get("since"):
            conditions |= {"since": "", "period": self.cleaned_data["period"]}
        conditions |= {"actor": None, "mine": "yes" if self.cleaned_data.get("mine") else ""}
        return conditions | {"housekeeping": "", "system": "shown" if self.cleaned_data.get("system") else ""}

    @property
    def main_fields(self) -> list[forms.BoundField]:
        if search.reads_own_alone(self.viewer):
            return [self[name] for name in ("q", "action", "period", "outcome")]
        return [self[name] for name in ("q", "action", "period", "outcome", "environment", "mine", "system")]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("actor", "object", "address", "request_id", "since", "until")]

    @property
    def more_count(self) -> int:
        return sum(bool(self.data.get(field.name)) for field in self.more_fields)


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=UTC) if day else None


def _begin(period: str) -> datetime | None:
    return timezone.now() - _PERIODS[period] if period in _PERIODS else None


class EventOrder:
    ordering_fields = {"id": "id"}
    default_ordering = "-id"
    filter_names = tuple(EventFilterForm.base_fields)


@require_GET
def activity(request: HttpRequest) -> HttpResponse:
    viewer = viewer_of(request)
    names = audit_log_policy().named_streams(viewer)
    form = EventFilterForm(request.GET, viewer=viewer, environments=names)
    conditions = form.conditions
    record_view(viewer=viewer, face="page", filters=form.recorded)
    paginator = KeysetPagination()
    events = search.find(viewer=viewer, **conditions)
    rows = paginator.paginate_queryset(events.events, request, view=EventOrder())
    about = conditions["object_name"]
    numbers = read_versions(rows, name=about) if about else {}
    # One request, or one object, is looked at line by line.
    folds = not (about or conditions["request_id"])
    listed = lines.fold(rows) if folds else [lines.Line(event=event) for event in rows]
    if folds and paginator.goes_on and not conditions["text"]:
        filled = lines.fill(rows, events.events, limit=DEFAULT_LIMIT)
        if filled:
            listed = filled.lines
            paginator.end_at(filled.last, more=filled.more)
    places = {} if conditions["environment"] else _places(names)
    context = {
        "events": [
            (line, numbers.get(line.event.pk, ()), places.get(line.event.stream, "")) for line in listed
        ],
        "today": timezone.localdate(),
        "filters": form,
        "lag": search_index.lag_text(events.behind) if events.behind else "",
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
        "query": _filters_of(request.GET),
        "views": saved_views.views_for(viewer, environments=names.keys()),
        "export_limit": event_export.LIMIT,
        "own": search.reads_own_alone(viewer),
    }
    return render(request, "audit_app/activity.html", context)


@require_GET
def activity_export(request: HttpRequest, form: str) -> HttpResponse:
    """Give the events that the page shows as a file, after recording it; the newest `event_export.LIMIT`."""
    if form not in event_export.FORMATS:
        raise Http404
    viewer = viewer_of(request)
    filters = EventFilterForm(
        request.GET, viewer=viewer, environments=audit_log_policy().named_streams(viewer)
    )
    conditions = filters.conditions
    record_export(viewer=viewer, form=form, filters=filters.recorded)
    content = event_export.FORMATS[form](search.find(viewer=viewer, **conditions).events)
    response = HttpResponse(content, content_type=event_export.MEDIA_TYPES[form])
    response["Content-Disposition"] = f'attachment; filename="keeper-activity-{timezone.now():%Y%m%d}.{form}"'
    return response


@require_POST
def view_save(request: HttpRequest) -> HttpResponse:
    filters = QueryDict(request.POST.get("query", "")[: 2 * MAX_QUERY])
    query = _filters_of(filters)
    refusal = saved_views.save(
        viewer=viewer_of(request),
        name=request.POST.get("name", ""),
        query=query,
        environment=filters.get("environment", "")[:63],
        shared="shared" in request.POST,
    )
    if refusal:
        messages.error(request, refusal)
    else:
        messages.success(request, "View saved.")
    return HttpResponseRedirect(f"{reverse('activity')}?{query}")


@require_POST
def view_remove(request: HttpRequest, id: int) -> HttpResponse:
    if saved_views.remove(viewer=viewer_of(request), id=id):
        messages.success(request, "View deleted.")
    else:
        messages.error(request, "You have no such view.")
    return HttpResponseRedirect(reverse("activity"))


def _filters_of(filters: QueryDict) -> str:
    """Return the filters of an address that are set, without the page of the list."""
    filters_set = filters.copy()
    for name in set(filters_set):
        if name not in EventFilterForm.base_fields or not filters_set[name]:
            del filters_set[name]
    return filters_set.urlencode()


@require_GET
def activity_event(request: HttpRequest, id: int) -> HttpResponse:
    """Show one event with its details, and whether its hash and MAC are valid."""
    viewer = viewer_of(request)
    event = viewed_event(viewer=viewer, face="page", pk=id)
    if event is None:
        raise Http404
    beside = search.events(viewer=viewer, stream=event.stream).filter(
        sequence__in=[event.sequence - 1, event.sequence + 1]
    )
    neighbours = dict(beside.values_list("sequence", "pk"))
    # All that an event about many lists; the event's hash covers no part of it without the rest.
    items = list(event.manifest.items.order_by("name", "number")) if event.manifest else []
    page = Paginator(items, ITEMS_SHOWN).get_page(request.GET.get("page"))
    context = {
        "event": event,
        "place": _places(audit_log_policy().named_streams(viewer)).get(event.stream, event.stream),
        "details": list(_told(event)),
        "items": page.object_list,
        "count": len(items),
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else None,
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else None,
        "verified": _is_genuine(event, items),
        "hash": bytes(event.hash).hex(),
        "previous_hash": bytes(event.previous_hash).hex(),
        "before": neighbours.get(event.sequence - 1),
        "after": neighbours.get(event.sequence + 1),
    }
    return render(request, "audit_app/event.html", context)


def _places(named: Mapping[str, str]) -> dict[str, str]:
    """Return what people call a stream, by its name."""
    return {stream: name for name, stream in named.items()} | {streams.SYSTEM: "installation"}


def _told(event: AuditEvent) -> Iterator[tuple[str, str]]:
    """Yield an event's details: texts unchanged, other values as JSON."""
    for name, value in sorted(parsed_details(event.details).items()):
        is_text = value is None or isinstance(value, str)
        yield name, value or "" if is_text else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _is_genuine(event: AuditEvent, items: list[ReadManifestItem]) -> bool:
    links = event_store.links(event.stream, after=event.sequence - 1, until=event.sequence, limit=1)
    if not links or not has_valid_mac(links[0]):
        return False
    listed = (listed_entry(str(item.secret_uuid), *_LISTED_OF(item)) for item in items)
    return event.manifest is None or digest_of_stored(listed) == event.manifest.digest


_LISTED_OF: Final = attrgetter(*LISTED_COLUMNS[1:])
