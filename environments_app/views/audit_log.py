"""The page of the audit log's integrity: checkpoints, sinks, pruned ranges, and a verification."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from audit_app.checkpoints import schedule as checkpoints_schedule
from audit_app.checkpoints.signing import SIGNING
from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.models import Checkpoint, SinkState
from audit_app.retention import schedule as retention_schedule
from audit_app.retention.bundles import bundles
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import require
from environments_app.operator_jobs import Extent, verify_log

_SHOWN = 10


@require_GET
def trail(request: HttpRequest) -> HttpResponse:
    """Show how the audit log is anchored."""
    require(actor=principal_of(request), action=Action.TRAIL_VERIFY, environment=None)
    return render(request, "environments_app/trail.html", _context())


@require_POST
def trail_verify(request: HttpRequest) -> HttpResponse:
    choice = request.POST.get("extent", "")
    extent = Extent(choice) if choice in list(Extent) else Extent.SINCE_CHECKPOINT
    verification = verify_log(actor=principal_of(request), extent=extent)
    return render(request, "environments_app/trail.html", {**_context(), "found": verification})


def _context() -> dict[str, Any]:
    return {
        "checkpoints": Checkpoint.objects.order_by("-number")[:_SHOWN],
        "sinks": SinkState.objects.exclude(name=SIGNING).order_by("name"),
        "keys": [(key_id, key.hex()) for key_id, key in keyring().public_keys().items()],
        "warnings": checkpoints_schedule.problems(),
        "retention": retention_schedule.retention_status(),
        "bundles": bundles()[:_SHOWN],
    }
