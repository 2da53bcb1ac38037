"""The page Health: the status of every system, its age, and the remedy."""

from itertools import groupby

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from environments_app.authentication.drf import principal_of
from keeper_project.health.service import results, warnings
from keeper_project.health.status import standings


@login_required
@require_GET
def health(request: HttpRequest) -> HttpResponse:
    """Show what this process finds of itself, and what workers found of other systems."""
    found = standings(actor=principal_of(request))
    context = {
        "groups": [(name, list(rows)) for name, rows in groupby(found, key=lambda each: each.group)],
        "ailing": sum(each.ails for each in found),
        "checks": [*results(), *warnings()],
    }
    return render(request, "keeper_project/health.html", context)
