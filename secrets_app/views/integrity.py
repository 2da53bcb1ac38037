"""The page of the sweep: how far it is, what it found, and a button that begins one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import require
from environments_app.errors import Conflict
from environments_app.operator_jobs import last_verification
from secrets_app.maintenance import integrity_sweep
from secrets_app.models.jobs import Sweep

_SHOWN = 20


@require_GET
def integrity(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    require(actor=actor, action=Action.SYSTEM_VIEW, environment=None)
    newest = integrity_sweep.latest()
    context = {
        "newest": newest,
        "verified": last_verification(actor=actor),
        "percent": integrity_sweep.progress(newest) if newest else 0,
        "next_due": integrity_sweep.next_due(),
        "earlier": Sweep.objects.filter(finished_at__isnull=False)[:_SHOWN],
    }
    return render(request, "secrets_app/integrity.html", context)


@require_POST
def sweep_start(request: HttpRequest) -> HttpResponse:
    try:
        integrity_sweep.start(actor=principal_of(request))
        messages.success(request, "Integrity check started.")
    except Conflict as error:
        messages.error(request, str(error))
    return redirect("integrity")
