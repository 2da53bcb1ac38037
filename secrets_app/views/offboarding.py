"""The page of offboarding: what a user knows, and the act."""

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded, Conflict
from environments_app.views.base import confirm_first
from secrets_app.exposure import find_person, offboard, offboarding_report

_SHOWN: Final = 500


@require_GET
def offboarding(request: HttpRequest, username: str) -> HttpResponse:
    actor = principal_of(request)
    report = offboarding_report(actor=actor, user=find_person(actor=actor, username=username))
    context = {
        "dossier": report,
        "standing": report.standing,
        "unmarked": any(item.secret.rotation_due_at is None for item in report.standing),
        "known": report.known[:_SHOWN],
        "could_read": report.could_read[:_SHOWN],
        "shown": _SHOWN,
    }
    return render(request, "secrets_app/offboarding.html", context)


@require_POST
def offboard_person(request: HttpRequest, username: str) -> HttpResponse:
    user = find_person(actor=principal_of(request), username=username)
    try:
        done = offboard(actor=principal_of(request), user=user)
    except Conflict as error:
        messages.error(request, str(error))
    except ConfirmationNeeded:
        return confirm_first(request, back=reverse("offboarding", args=[username]))
    else:
        messages.success(
            request, f"Disabled {user.username}. Marked as due: {done.marked}. Rotating now: {done.queued}."
        )
    return redirect("offboarding", username=username)
