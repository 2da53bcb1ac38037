"""The page of what happened."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from audit_app import search
from audit_app.actions import Action, Outcome
from audit_app.listing import list_paginator
from audit_app.policy import trail_policy, viewer_of
from audit_app.versions_read import versions_read
from audit_app.viewing import record_view


class EventFilterForm(forms.Form):
    """The filters of the list of events, as they stand in its address."""

    q = forms.CharField(required=False, label="Search")
    action = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Anything"),
            (search.EVERY_READ, "Every read of a value"),
            *((a.value, a.value) for a in Action),
        ],
    )
    outcome = forms.ChoiceField(
        required=False, choices=[("", "Any outcome"), *((o.value, o.value) for o in Outcome)]
    )
    environment = forms.ChoiceField(required=False)
    actor = forms.CharField(required=False, label="Who")
    object = forms.CharField(required=False, label="What")
    address = forms.CharField(required=False, label="From")
    request_id = forms.CharField(required=False, label="Request")
    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, given: Any, *, environments: Iterable[str]) -> None:
        super().__init__(given)
        choices = [("", "Any environment"), *((name, name) for name in environments)]
        self.fields["environment"] = forms.ChoiceField(required=False, choices=choices)

    @property
    def wanted(self) -> dict[str, Any]:
        """The filters in the words of `search.events`; one that cannot be is left out."""
        self.is_valid()
        given = self.cleaned_data
        until = given.get("until")
        return {
            **search.acts(given.get("action", "")),
            "outcome": given.get("outcome") or None,
            "environment": given.get("environment", ""),
            "actor_name": given.get("actor", ""),
            "object_name": given.get("object", ""),
            "address": given.get("address", ""),
            "request_id": given.get("request_id", ""),
            "text": given.get("q", ""),
            "since": _midnight(given.get("since")),
            # The last day is meant as a whole.
            "until": _midnight(until and until + timedelta(days=1)),
        }


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=UTC) if day else None


class EventOrder:
    """The orders of a list of events."""

    ordering_fields = {"id": "id"}
    default_ordering = "-id"
    filter_names = tuple(EventFilterForm.base_fields)


@login_required
@require_GET
def activity(request: HttpRequest) -> HttpResponse:
    """List the events that one may read, newest first."""
    viewer = viewer_of(request)
    form = EventFilterForm(request.GET, environments=trail_policy().named_streams(viewer))
    wanted = form.wanted
    record_view(viewer=viewer, face="page", wanted=wanted)
    paginator = list_paginator()
    rows = paginator.paginate_queryset(search.events(viewer=viewer, **wanted), request, view=EventOrder())
    about = wanted["object_name"]
    numbers = versions_read(rows, name=about) if about else {}
    context = {
        "events": [(event, numbers.get(event.pk, ())) for event in rows],
        "filters": form,
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render(request, "audit_app/activity.html", context)
