"""The pages of emergency reads: one is made on a secret's page, and reviewed on its own."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from core.pagination import KeysetPagination
from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded, Conflict
from environments_app.views.base import confirm_first, render_page, run_act
from secrets_app.errors import InvalidInput, StaleVersion
from secrets_app.queries.lookup import find_secret
from secrets_app.services import emergency

_SHOWN = "Managers and auditors were alerted, and one of them reviews this read."


@sensitive_variables()
@require_POST
def secret_emergency_read(request: HttpRequest, id: int) -> HttpResponse:
    """Show a guarded value at once, this once, and alert managers and auditors."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    page = reverse("secret-detail", args=[secret.pk])
    try:
        revealed = emergency.read_in_emergency(
            actor=actor, secret=secret, reason=request.POST.get("reason", "")
        )
    except ConfirmationNeeded:
        return confirm_first(request, back=page)
    except (Conflict, InvalidInput, StaleVersion) as error:
        messages.error(request, str(getattr(error, "reason", error)))
        return redirect(page)
    context = {
        "name": secret.name,
        "value": revealed.value,
        "sentence": _SHOWN,
        "object_url": page,
        "emergency": True,
    }
    return render(request, "environments_app/value_shown.html", context)


class ReviewedForm(forms.Form):
    reviewed = forms.NullBooleanField(
        required=False,
        label="Reviewed",
        widget=forms.Select(choices=[("", "All"), ("false", "Not reviewed"), ("true", "Reviewed")]),
    )


class _Order:
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"
    filter_names = ("reviewed",)


@require_GET
def emergency_reads(request: HttpRequest) -> HttpResponse:
    """List who read what in an emergency, and who reviewed it, where the actor may read the audit log."""
    form, paginator = ReviewedForm(request.GET), KeysetPagination()
    reviewed = form.cleaned_data["reviewed"] if form.is_valid() else None
    rows = emergency.visible_reads(actor=principal_of(request), reviewed=reviewed)
    events = list(paginator.paginate_queryset(rows, request, view=_Order()) or [])
    reads = emergency.described(events)
    context = {
        "reads": reads,
        "unreadable": len(events) - len(reads),
        "form": form,
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
    }
    return render_page(request, "secrets_app/emergency_reads.html", context)


@require_GET
def emergency_read(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show who read what in an emergency, why, and who reviewed it."""
    actor = principal_of(request)
    read = emergency.find_read(actor=actor, uuid=uuid)
    context = {
        "read": read,
        "environment": read.environment,
        "may_review": read.review is None and emergency.may_review(actor, read),
        "max_comment": emergency.MAX_COMMENT,
    }
    return render_page(request, "secrets_app/emergency_read.html", context)


@require_POST
def emergency_close(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Mark an emergency read as reviewed."""
    actor = principal_of(request)
    comment = request.POST.get("comment", "")
    return run_act(
        request,
        lambda: emergency.review(actor=actor, uuid=uuid, comment=comment),
        "Marked as reviewed.",
        back=reverse("emergency-read", args=[uuid]),
        refusals=(Conflict, InvalidInput),
    )
