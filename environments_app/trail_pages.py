"""The page of the trail's integrity: what was signed, where it is kept, what was taken out, and a check."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from audit_app import anchoring, retention
from audit_app.actions import Action
from audit_app.archives import bundles
from audit_app.checkpointing import SIGNING
from audit_app.keyring import keyring
from audit_app.models import Checkpoint, SinkState
from environments_app.authentication import principal_of
from environments_app.policy import require
from environments_app.trail_verification import Extent, verify_trail

_SHOWN = 10


@login_required
@require_GET
def trail(request: HttpRequest) -> HttpResponse:
    """Show how the trail is anchored."""
    require(actor=principal_of(request), action=Action.TRAIL_VERIFY, environment=None)
    return render(request, "environments_app/trail.html", _context())


@login_required
@require_POST
def trail_verify(request: HttpRequest) -> HttpResponse:
    """Verify the trail and show what was found."""
    asked = request.POST.get("extent", "")
    extent = Extent(asked) if asked in list(Extent) else Extent.SINCE_CHECKPOINT
    found = verify_trail(actor=principal_of(request), extent=extent)
    return render(request, "environments_app/trail.html", {**_context(), "found": found})


def _context() -> dict[str, Any]:
    return {
        "checkpoints": Checkpoint.objects.order_by("-number")[:_SHOWN],
        "sinks": SinkState.objects.exclude(name=SIGNING).order_by("name"),
        "keys": [(key_id, key.hex()) for key_id, key in keyring().public_keys().items()],
        "warnings": anchoring.problems(),
        "retention": retention.standing(),
        "bundles": bundles()[:_SHOWN],
    }
