"""The page that rotates all secrets known to a user or token: preview, typed name, result of each."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from environments_app.authentication.drf import principal_of
from environments_app.errors import InvalidField, Invisible
from sync_app.rotation.execution.compromise_response import (
    find_reader,
    preview,
    require_managing,
    rotate_known,
)


class ExposureForm(forms.Form):
    who = forms.CharField(
        label="Person or token",
        max_length=150,
        help_text="Username, token name or UUID.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    emergency = forms.BooleanField(
        label="Emergency: no overlap", required=False, help_text="Apps that use an old value lose access."
    )


@require_http_methods(["GET", "POST"])
def exposure(request: HttpRequest) -> HttpResponse:
    """Show the secrets known to a user or token and the planned actions; rotate once the name is typed."""
    actor = principal_of(request)
    require_managing(actor)
    query = request.POST if request.method == "POST" else request.GET
    form = ExposureForm(query if "who" in query else None)
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        emergency = form.cleaned_data["emergency"]
        try:
            reader = find_reader(actor=actor, name=form.cleaned_data["who"].strip())
        except (Invisible, InvalidField) as error:
            form.add_error("who", str(error))
            return render(request, "sync_app/exposure.html", context, status=422)
        context |= {"reader": reader, "emergency": emergency}
        if request.method == "POST" and request.POST.get("typed", "").strip() == reader.name:
            response = rotate_known(
                actor=actor, reader=reader, emergency=emergency, reason=request.POST.get("reason", "")[:200]
            )
            context["asked"] = response
            context["done"] = sum(result.done for result in response.results)
        else:
            exposed = preview(actor=actor, reader=reader, emergency=emergency)
            context |= {
                "looked": exposed,
                "rotated": sum(secret.policy is not None and not secret.reason for secret in exposed),
                "by_hand": sum(secret.policy is None for secret in exposed),
                "can": any(not secret.reason for secret in exposed),
                "mistyped": request.method == "POST",
            }
    status = 422 if form.errors or context.get("mistyped") else 200
    return render(request, "sync_app/exposure.html", context, status=status)
