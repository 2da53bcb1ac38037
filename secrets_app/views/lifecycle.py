"""The pages of the acts on a secret, and its star."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.act import Act
from environments_app.views.base import act_page, attempt, render_page
from secrets_app import acts
from secrets_app.errors import InvalidInput, NameTaken, StaleVersion
from secrets_app.forms.secret import AS_WRITTEN, version_number
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
        "label": acts.RENAME.label,
        "text": acts.RENAME.confirmation,
        "lines": acts.referring(actor, secret),
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
    words: dict[str, Any],
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


def _version(request: HttpRequest) -> dict[str, Any]:
    number = version_number(request)
    if number is None:
        raise InvalidInput("version", "Choose a version.")
    return {"number": number, "expected": request.POST.get("expected") or None}


def _find(act: Act, request: HttpRequest, *, id: int) -> Secret:
    return find_secret(actor=principal_of(request), id=id, deleted=None if act.on_deleted else False)


def _reason(request: HttpRequest) -> dict[str, Any]:
    return {"reason": request.POST.get("reason", ""), "number": version_number(request)}


_ARGUMENTS: Final = {"rollback": _version, "request_read": _reason}
ACT_PAGES: Final = {
    act.slug: act_page(
        act,
        partial(_find, act),
        back=lambda secret: reverse("secret-detail", args=[secret.pk]),
        after=(lambda _: reverse("secret-list")) if act.name == "purge" else None,
        arguments=_ARGUMENTS.get(act.name),
    )
    for act in acts.SECRETS
    if act.on_page
}
