"""The page of offboarding: what a user knows, and the act."""

from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded, Conflict
from secrets_app.exposure import find_person, offboard, offboarding_report

_SHOWN: Final = 500


@login_required
@require_GET
def offboarding(request: HttpRequest, username: str) -> HttpResponse:
    """Show what a person could read, knows and holds."""
    found = offboarding_report(
        actor=principal_of(request), user=find_person(actor=principal_of(request), username=username)
    )
    context = {
        "dossier": found,
        "standing": found.standing,
        "unmarked": any(each.secret.rotation_due_at is None for each in found.standing),
        "known": found.known[:_SHOWN],
        "could_read": found.could_read[:_SHOWN],
        "shown": _SHOWN,
    }
    return render(request, "secrets_app/offboarding.html", context)


@login_required
@require_POST
def offboard_person(request: HttpRequest, username: str) -> HttpResponse:
    """Disable the account and queue what the person knows for rotation."""
    user = find_person(actor=principal_of(request), username=username)
    try:
        done = offboard(actor=principal_of(request), user=user)
    except Conflict as error:
        messages.error(request, str(error))
    except ConfirmationNeeded:
        messages.info(request, "Confirm your password to continue.")
        query = urlencode({"next": reverse("offboarding", args=[username])})
        return HttpResponseRedirect(f"{reverse('confirm')}?{query}")
    else:
        messages.success(
            request,
            f"Disabled {user.username}. Marked as due: {done.marked}. Rotating now: {done.queued}.",
        )
    return redirect("offboarding", username=username)
