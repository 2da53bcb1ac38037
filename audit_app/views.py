"""The page of what happened."""

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from audit_app import search
from audit_app.actions import Action, Outcome
from audit_app.listing import list_paginator
from audit_app.policy import viewer_of


class EventFilterForm(forms.Form):
    """The filters of the list of events, as they stand in its address."""

    action = forms.ChoiceField(
        required=False, choices=[("", "Anything"), *((a.value, a.value) for a in Action)]
    )
    outcome = forms.ChoiceField(
        required=False, choices=[("", "Any outcome"), *((o.value, o.value) for o in Outcome)]
    )
    actor = forms.CharField(required=False, label="Who")
    object = forms.CharField(required=False, label="What")

    @property
    def wanted(self) -> dict[str, Any]:
        """The filters in the words of `search.events`; one that cannot be is left out."""
        self.is_valid()
        given = self.cleaned_data
        return {
            "action": given.get("action") or None,
            "outcome": given.get("outcome") or None,
            "actor_name": given.get("actor", ""),
            "object_name": given.get("object", ""),
        }


class EventOrder:
    """The orders of a list of events."""

    ordering_fields = {"id": "id"}
    default_ordering = "-id"
    filter_names = tuple(EventFilterForm.base_fields)


@login_required
@require_GET
def activity(request: HttpRequest) -> HttpResponse:
    """List the events that one may read, newest first."""
    form = EventFilterForm(request.GET)
    paginator = list_paginator()
    rows = paginator.paginate_queryset(
        search.events(viewer=viewer_of(request), **form.wanted), request, view=EventOrder()
    )
    context = {
        "events": rows,
        "filters": form,
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render(request, "audit_app/activity.html", context)
