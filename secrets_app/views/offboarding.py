"""The page of offboarding: what a user knows, and the act."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from environments_app.authentication.drf import principal_of
from environments_app.models import User
from environments_app.views.base import act_page
from secrets_app.acts import OFFBOARD
from secrets_app.exposure import find_person, offboarding_report

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
        "departure": report.user.departures.order_by("-pk").first(),
    }
    return render(request, "secrets_app/offboarding.html", context)


def _find(request: HttpRequest, *, username: str) -> User:
    return find_person(actor=principal_of(request), username=username)


offboard_person = act_page(OFFBOARD, _find, back=lambda user: reverse("offboarding", args=[user.username]))
