"""The page of operators: queues, leases and settings."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import require
from keeper_project.operations.queues import leases, queues
from keeper_project.operations.settings_view import shown_settings


@login_required
@require_GET
def operations(request: HttpRequest) -> HttpResponse:
    """Show the queues, the leases and the settings to operators."""
    require(actor=principal_of(request), action=Action.SYSTEM_VIEW, environment=None)
    context = {"queues": queues(), "leases": leases(), "settings": shown_settings()}
    return render(request, "keeper_project/operations.html", context)
