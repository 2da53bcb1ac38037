"""Pages that rename, duplicate, star, delete, restore and purge a secret."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.views.base import attempt, render_page
from secrets_app.errors import InvalidInput, NameTaken, StaleVersion
from secrets_app.forms.secret import AS_WRITTEN
from secrets_app.models import MAX_NAME_LENGTH, Secret
from secrets_app.queries.browsing import set_star
from secrets_app.queries.lookup import find_secret, require_authentic, require_on
from secrets_app.services import lifecycle, transfer

_REFUSALS = (InvalidInput, NameTaken, StaleVersion)


class NameForm(forms.Form):
    name = forms.CharField(
        max_length=MAX_NAME_LENGTH,
        strip=False,
        help_text="For example, payments/stripe-key",
        widget=forms.TextInput(attrs=AS_WRITTEN),
    )
    expected = forms.CharField(required=False, widget=forms.HiddenInput)


@require_http_methods(["GET", "POST"])
def secret_rename(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    require_on(actor=actor, action=Action.SECRET_RENAME, secret=secret)
    before = secret.name

    def run(name: str, expected: str) -> Secret:
        return lifecycle.rename(actor=actor, secret=secret, name=name, expected=expected or None)

    words = {
        "title": "Rename secret",
        "label": "Rename",
        "text": "Apps that read this secret by its name must use the new name. The history stays.",
    }
    return _page(request, secret, before, words, run, done=f"Renamed {before} to {{}}.")


@require_http_methods(["GET", "POST"])
def secret_duplicate(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    for action in (Action.SECRET_COPY, Action.SECRET_REVEAL):
        require_on(actor=actor, action=action, secret=secret)

    def run(name: str, _expected: str) -> Secret:
        return transfer.copy(actor=actor, secret=secret, environment=secret.environment, name=name)

    words = {
        "title": "Duplicate secret",
        "label": "Duplicate",
        "text": f"Creates a new secret in {secret.environment.name} with the current value and details.",
    }
    return _page(request, secret, f"{secret.name}-copy", words, run, done="Created {}.")


@require_POST
def secret_star(request: HttpRequest, id: int) -> HttpResponse:
    """Star a secret for oneself, or take the star away; return the button."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    starred = bool(request.POST.get("starred"))
    set_star(actor, secret, starred=starred)
    context = {"starred": starred, "star_url": request.path, "name": secret.name}
    return render(request, "secrets_app/_star.html", context)


def _page(
    request: HttpRequest,
    secret: Secret,
    suggested: str,
    words: dict[str, str],
    run: Callable[[str, str], Secret],
    *,
    done: str,
) -> HttpResponse:
    require_authentic(secret)
    shown = secret.name
    initial = {"name": suggested, "expected": secret.etag}
    form = NameForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        result = attempt(form, lambda: run(data["name"], data["expected"]), refusals=_REFUSALS)
        if result is not None:
            messages.success(request, done.format(result.name))
            return redirect("secret-detail", id=result.pk)
    context: dict[str, Any] = words | {
        "form": form,
        "name": shown,
        "environment": secret.environment,
        "back_url": reverse("secret-detail", args=[secret.pk]),
    }
    return render_page(request, "secrets_app/secret_name.html", context)


@require_http_methods(["GET", "POST"])
def secret_delete(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    typed_name = secret.environment.name if secret.environment.protected else ""
    if request.method == "GET" or (typed_name and request.POST.get("typed") != typed_name):
        return _confirm(
            request,
            typed_name=typed_name,
            title=f"Delete {secret.name}?",
            text=(
                "This needs approval first. Apps that read this secret will then start failing."
                if typed_name
                else "Apps that read this secret will start failing."
            )
            + f" You can restore it for {settings.KEEPER_DELETED_RETENTION_DAYS} days.",
            action=reverse("secret-delete", args=[id]),
            label="Delete",
            secret=secret,
        )
    lifecycle.delete(actor=actor, secret=secret)
    messages.success(request, f"Deleted {secret.name}. You can restore it from its page.")
    return redirect("secret-detail", id=secret.pk)


@require_POST
def secret_restore(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    secret = lifecycle.restore(actor=actor, secret=find_secret(actor=actor, id=id, deleted=None))
    messages.success(request, f"Restored {secret.name}.")
    return redirect("secret-detail", id=secret.pk)


@require_http_methods(["GET", "POST"])
def secret_purge(request: HttpRequest, id: int) -> HttpResponse:
    """Destroy a deleted secret for ever, after its name was typed."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    if request.method == "GET" or request.POST.get("typed") != secret.name:
        return _confirm(
            request,
            title=f"Permanently delete {secret.name}?",
            text="All versions are deleted and can't be restored. The audit log keeps its entries.",
            action=reverse("secret-purge", args=[id]),
            label="Delete permanently",
            secret=secret,
            typed_name=secret.name,
        )
    lifecycle.purge(actor=actor, secret=secret)
    messages.success(request, f"Permanently deleted {secret.name}.")
    return redirect("secret-list")


def _confirm(
    request: HttpRequest,
    *,
    title: str,
    text: str,
    action: str,
    label: str,
    secret: Secret,
    typed_name: str = "",
) -> HttpResponse:
    context = {
        "title": title,
        "text": text,
        "action": action,
        "typed": typed_name,
        "environment": secret.environment,
        "label": label,
        "cancel_url": reverse("secret-detail", args=[secret.pk]),
    }
    return render_page(request, "confirm.html", context)
