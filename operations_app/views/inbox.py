"""The page of notifications, and the choice of those sent by e-mail."""

from typing import Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from environments_app.authentication.drf import principal_of
from environments_app.models import NoticeKind
from environments_app.users.preferences import choose_digest, hide_first_steps, mark_seen, settings_of
from operations_app.inbox.items import sections

_LABELS: Final = {
    NoticeKind.APPROVALS: "Approval requests, and decisions on yours",
    NoticeKind.FAILURES: "Failed syncs and rotations, drift, conflicts",
    NoticeKind.ROTATION: "Due rotations",
    NoticeKind.EXPIRY: "Secrets expiring within 30 days",
}


class DigestForm(forms.Form):
    kinds = forms.MultipleChoiceField(
        label="Email me about",
        required=False,
        choices=list(_LABELS.items()),
        widget=forms.CheckboxSelectMultiple,
    )


@require_GET
def notices(request: HttpRequest) -> HttpResponse:
    """Show the user's items, new ones marked."""
    actor = principal_of(request)
    chosen = settings_of(actor)
    seen_at = chosen.notices_seen_at
    inbox_sections = sections(actor)
    context = {
        "sections": [{"section": section, "new": section.since(seen_at)} for section in inbox_sections],
        "seen": seen_at,
        "has_new": any(section.since(seen_at) for section in inbox_sections),
        "looked_at": timezone.now().isoformat(),
        "digest_form": DigestForm(initial={"kinds": chosen.mailed}),
        "mail_works": bool(settings.EMAIL_HOST),
    }
    return render(request, "keeper_project/notices.html", context)


@require_POST
def notices_seen(request: HttpRequest) -> HttpResponse:
    """Note that the person has seen what the page showed, and not what came after it was made."""
    try:
        until = parse_datetime(request.POST.get("until", ""))
    except ValueError:
        until = None
    if until is not None and timezone.is_aware(until):
        mark_seen(actor=principal_of(request), until=until)
    return redirect("notices")


@require_POST
def digest_choose(request: HttpRequest) -> HttpResponse:
    form = DigestForm(request.POST)
    if form.is_valid():
        kinds = [NoticeKind(kind) for kind in form.cleaned_data["kinds"]]
        choose_digest(actor=principal_of(request), kinds=kinds)
        messages.success(request, "Saved." if kinds else "Saved. The digest is off.")
    return redirect("notices")


@require_POST
def first_steps_hide(request: HttpRequest) -> HttpResponse:
    hide_first_steps(actor=principal_of(request))
    return redirect("dashboard")
