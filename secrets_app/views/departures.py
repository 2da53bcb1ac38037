"""The pages of departures: what ended, which values are open, and what people decide about them."""

from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from environments_app.models import DepartureKind
from environments_app.views.base import run_act
from secrets_app.departures import decisions, following
from secrets_app.exposure import offboarding_report

_SHOWN: Final = 200
_VALUES_SHOWN: Final = 500


@require_GET
def departure_list(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    rows = []
    for departure in decisions.visible_departures(actor)[:_SHOWN]:
        done, total = decisions.progress(decisions.visible_values(actor, departure))
        rows.append({"departure": departure, "done": done, "total": total})
    return render(request, "secrets_app/departures.html", {"rows": rows, "shown": _SHOWN})


@require_GET
def departure(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    found, values = decisions.read_departure(actor=actor, id=id)
    done, total = decisions.progress(values)
    in_full = decisions.may_see_all(actor)
    context: dict[str, Any] = {
        "departure": found,
        "values": [
            {
                "row": value,
                "may_keep": decisions.may_keep(actor, found.user, value),
                "may_assign": decisions.may_assign(actor, found.user, value),
            }
            for value in values[:_VALUES_SHOWN]
        ],
        "shown": _VALUES_SHOWN,
        "done": done,
        "total": total,
        "in_full": in_full,
        "outlets": decisions.visible_outlets(actor, found),
        "may_close": found.open and allows(actor, Action.USER_CHANGE, environment_id=None),
    }
    if in_full:
        context["ended"] = following.ended_words(found)
        context["unmanaged"] = following.unmanaged(found) if found.kind == DepartureKind.LEFT else []
        if found.kind == DepartureKind.LEFT:
            context["report"] = offboarding_report(actor=actor, user=found.user)
    return render(request, "secrets_app/departure.html", context)


@require_POST
def departure_close(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    found = decisions.find_departure(actor=actor, id=id)
    reason = request.POST.get("reason", "")
    return run_act(
        request,
        lambda: decisions.close_departure(actor=actor, departure=found, reason=reason),
        "Closed.",
        back=reverse("departure", args=[found.pk]),
    )


@require_POST
def departure_continue(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    found = decisions.find_departure(actor=actor, id=id)
    return run_act(
        request,
        lambda: decisions.continue_rotations(actor=actor, departure=found),
        "Rotations go on.",
        back=reverse("departure", args=[found.pk]),
    )


@require_POST
def outlet_keep(request: HttpRequest, id: int, uuid: UUID) -> HttpResponse:
    actor = principal_of(request)
    found = decisions.find_departure(actor=actor, id=id)
    reason = request.POST.get("reason", "")
    return run_act(
        request,
        lambda: decisions.keep_outlet(actor=actor, departure=found, uuid=uuid, reason=reason),
        lambda row: f"{row.name} stays as it is.",
        back=reverse("departure", args=[found.pk]),
    )


@require_POST
def outlet_mark(request: HttpRequest, id: int, uuid: UUID) -> HttpResponse:
    actor = principal_of(request)
    found = decisions.find_departure(actor=actor, id=id)
    return run_act(
        request,
        lambda: decisions.mark_reads(actor=actor, departure=found, uuid=uuid),
        lambda count: f"{count} secret{'' if count == 1 else 's'} marked for rotation.",
        back=reverse("departure", args=[found.pk]),
    )


@require_POST
def value_keep(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    value = decisions.find_value(actor=actor, id=id)
    reason = request.POST.get("reason", "")
    return run_act(
        request,
        lambda: decisions.keep_value(actor=actor, value=value, reason=reason),
        f"{value.secret.name} stays as it is.",
        back=reverse("departure", args=[value.departure_id]),
    )


@require_POST
def value_assign(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    value = decisions.find_value(actor=actor, id=id)
    username = request.POST.get("username", "")
    return run_act(
        request,
        lambda: decisions.assign_value(actor=actor, value=value, username=username),
        lambda row: f"{row.secret.name} is given to {row.assignee.username}.",
        back=reverse("departure", args=[value.departure_id]),
    )
