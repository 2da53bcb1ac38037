"""The pages on which a value is shared once, and on which the one it is meant for opens it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.errors import InvalidField
from environments_app.users.accounts import user_by_name
from environments_app.views.base import render_page, show_refusal
from secrets_app.models import Share
from secrets_app.queries.lookup import find_secret, require_authentic, require_on
from secrets_app.services.share import MAX_NOTE, find_share, open_share, revoke_share, share_once
from secrets_app.views.presenters import MASK_AFTER_SECONDS, value_fields


class ShareForm(forms.Form):
    recipient = forms.CharField(
        label="Recipient",
        required=False,
        help_text="Username. Leave blank to allow any signed-in user.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    hours = forms.TypedChoiceField(
        label="Expires in",
        coerce=int,
        choices=[(1, "1 hour"), (24, "1 day"), (72, "3 days"), (168, "7 days")],
        initial=24,
    )
    note = forms.CharField(
        max_length=MAX_NOTE, required=False, help_text="Shown to the recipient before they view the secret."
    )


@require_http_methods(["GET", "POST"])
def secret_share(request: HttpRequest, id: int) -> HttpResponse:
    """Share the current version once; the link is shown this once."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    require_on(actor=actor, action=Action.SECRET_SHARE, secret=secret)
    require_authentic(secret)
    form = ShareForm(request.POST or None)
    context: dict[str, Any] = {"form": form, "secret": secret, "environment": secret.environment}
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            recipient = user_by_name(data["recipient"], field="recipient")
            share, link = share_once(
                actor=actor, secret=secret, recipient=recipient, hours=data["hours"], note=data["note"]
            )
        except InvalidField as error:
            show_refusal(form, error)
        else:
            context |= {"share": share, "link": request.build_absolute_uri(reverse("share", args=[link]))}
    return render_page(request, "secrets_app/share.html", context)


@require_POST
def share_revoke(request: HttpRequest, id: int, share: int) -> HttpResponse:
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    rows = Share.objects.select_related("environment", "secret__environment", "shared_by", "recipient")
    row = rows.filter(pk=share, secret=secret).first()
    if row is None:
        raise Http404
    revoke_share(actor=actor, share=row)
    messages.success(request, "Link revoked.")
    return redirect("secret-detail", id=id)


@require_http_methods(["GET", "POST"])
def shared(request: HttpRequest, link: str) -> HttpResponse:
    """Describe the share of a link, and show its value once by POST: prefetching consumes nothing."""
    actor = principal_of(request)
    if request.method == "GET":
        return render(request, "secrets_app/shared.html", {"share": find_share(actor=actor, link=link)})
    revealed = open_share(actor=actor, link=link)
    value = revealed.value
    context = {
        "value": value,
        "fields": value_fields(revealed.secret.secret_type, value),
        "version": revealed.version.number,
        "mask_after": MASK_AFTER_SECONDS * 4,
    }
    return render(request, "secrets_app/shared.html", context)
