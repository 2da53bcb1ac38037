"""The pages on which an environment is deleted, and on which deleted ones are restored."""

from typing import Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import require
from environments_app.environments import deletion
from environments_app.views.base import ask_proof, attempt, enter_environment, render_page, run_act
from secrets_app.models import Reference

_SHOWN: Final = 200


class DeletionForm(forms.Form):
    """The name of the environment, typed again."""

    typed = forms.CharField(label="Name", required=False, strip=False)

    def __init__(self, *args: object, name: str) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # Django's arguments, passed on
        self.fields["typed"].help_text = f"Type {name} to confirm."
        self._name = name

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"]
        if typed != self._name:
            raise forms.ValidationError(f"Type {self._name} exactly. Nothing was deleted.")
        return typed


@sensitive_post_parameters("proof-password")
@require_http_methods(["GET", "POST"])
def environment_delete(request: HttpRequest, name: str) -> HttpResponse:
    actor, place = enter_environment(request, name)
    require(actor=actor, action=Action.ENVIRONMENT_DELETE, environment=place)
    form = DeletionForm(request.POST or None, name=place.name)
    typed = request.method == "POST" and form.is_valid()
    proof = ask_proof(request) if request.method == "GET" or typed else None
    if typed and not (proof and proof.is_bound):
        deleted = attempt(
            form, lambda: deletion.delete_environment(actor=principal_of(request), environment=place)
        )
        if deleted is not None:
            messages.success(request, f"Environment {place.name} deleted. It can be restored here.")
            return redirect("deleted-environments")
    elsewhere = Reference.objects.filter(environment=place.name, secret__live=True)
    context = {
        "form": form,
        "environment": place,
        "proof": proof,
        "contents": deletion.contents(place),
        "references": elsewhere.exclude(secret__environment=place).values("secret").distinct().count(),
        "retention_days": settings.KEEPER_DELETED_RETENTION_DAYS,
        "back_url": reverse("environment-detail", args=[place.name]),
    }
    refused = bool(form.errors or (proof and proof.errors))
    return render_page(request, "secrets_app/environment_delete.html", context, refused=refused)


@require_GET
def deleted_environments(request: HttpRequest) -> HttpResponse:
    rows = verified_rows(list(deletion.deleted_environments(principal_of(request))[:_SHOWN]))
    context = {
        "rows": [
            {
                "environment": row,
                "purge_at": deletion.purge_time(row),
                "contents": deletion.contents(row),
                "restore_url": reverse("environment-restore", args=[row.name]),
            }
            for row in rows
        ]
    }
    return render_page(request, "secrets_app/deleted_environments.html", context)


@require_POST
def environment_restore(request: HttpRequest, name: str) -> HttpResponse:
    actor = principal_of(request)
    place = deletion.find_deleted(actor=actor, name=name)
    return run_act(
        request,
        lambda: deletion.restore_environment(actor=actor, environment=place),
        f"Environment {name} restored, with everything that was in it.",
        back=reverse("deleted-environments"),
        after=reverse("environment-detail", args=[name]),
    )
