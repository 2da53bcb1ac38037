"""The page on which an environment is cloned, without values or with them."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows, require
from environments_app.errors import Conflict, InvalidField
from environments_app.views.base import ask_proof, attempt, enter_environment, render_page
from secrets_app.errors import SecretError
from secrets_app.services.clone import clone_environment


class CloneForm(forms.Form):
    name = forms.CharField(strip=False, max_length=63, help_text="Lowercase letters, numbers, - and _.")
    with_values = forms.BooleanField(
        label="Copy the secrets with their values",
        required=False,
        help_text="Recorded as an export here. Without it, the clone begins empty.",
    )


@sensitive_post_parameters("proof-password")
@require_http_methods(["GET", "POST"])
def environment_clone(request: HttpRequest, name: str) -> HttpResponse:
    require(actor=principal_of(request), action=Action.ENVIRONMENT_CREATE, environment=None)
    actor, source = enter_environment(request, name)
    readable = not source.protected and all(
        allows(actor, action, environment_id=source.pk)
        for action in (Action.SECRET_EXPORT, Action.SECRET_COPY)
    )
    form = CloneForm(request.POST or None)
    if not readable:
        del form.fields["with_values"]
    proof = (
        ask_proof(request)
        if readable and (request.method == "GET" or request.POST.get("with_values"))
        else None
    )
    if request.method == "POST" and form.is_valid() and not (proof and proof.is_bound):
        data: dict[str, Any] = form.cleaned_data
        cloned = attempt(
            form,
            lambda: clone_environment(
                actor=enter_environment(request, name)[0],
                source=source,
                name=data["name"],
                with_values=data.get("with_values", False),
            ),
            refusals=(Conflict, InvalidField, SecretError),
        )
        if cloned is not None:
            clone, count = cloned
            secrets = f" with {count:,} secret{'' if count == 1 else 's'}" if data.get("with_values") else ""
            messages.success(request, f"Environment {clone.name} created{secrets}.")
            for warning in clone.warnings:
                messages.warning(request, warning)
            return redirect(f"{reverse('secret-matrix')}?with={clone.name}")
    context = {
        "form": form,
        "environment": source,
        "proof": proof,
        "readable": readable,
        "back_url": reverse("environment-detail", args=[source.name]),
    }
    refused = bool(form.errors or (proof and proof.errors))
    return render_page(request, "secrets_app/environment_clone.html", context, refused=refused)
