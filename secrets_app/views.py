"""The pages of secrets: thin over the use cases; every value is shown by POST and recorded."""

from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app import search
from audit_app.actions import Action
from audit_app.listing import list_paginator
from audit_app.row_mac import authentic
from audit_app.whole_numbers import whole_number
from environments_app.authentication import principal_of
from environments_app.current import enter
from environments_app.models import Environment
from environments_app.policy import allows, visible_environments
from secrets_app import lifecycle, writing
from secrets_app.errors import NameTaken, StaleVersion
from secrets_app.filters import DEFAULT_ORDERING, ORDERINGS, narrow
from secrets_app.finding import find_secret, require_authentic, visible_secrets
from secrets_app.forms import FilterForm, SecretForm
from secrets_app.generators import GENERATORS, generate
from secrets_app.generators.choosing import options_from_form
from secrets_app.input_errors import InvalidInput
from secrets_app.models import Secret, SecretVersion
from secrets_app.panels import cells_of, panel_filters, panels_of
from secrets_app.presenting import (
    MASK_AFTER_SECONDS,
    active_filters,
    list_row,
    rights,
    secret_urls,
    value_fields,
)
from secrets_app.reading import reveal
from secrets_app.retention import purge_time
from secrets_app.secret_types import SecretType

_MAX_NUMBER: Final = 2**31 - 1
_VERSIONS_SHOWN: Final = 50
_EVENTS_SHOWN: Final = 10


class _SecretOrder:
    """The orders of the list page."""

    ordering_fields = ORDERINGS
    default_ordering = DEFAULT_ORDERING
    filter_names = (*FilterForm.base_fields, *panel_filters())


@login_required
@require_GET
def secret_list(request: HttpRequest) -> HttpResponse:
    """List the secrets whose names one may know; nothing is decrypted."""
    actor = principal_of(request)
    environments = list(Environment.objects.filter(visible_environments(actor)).order_by("position", "name"))
    form = FilterForm(request.GET, environments=environments)
    secrets = narrow(visible_secrets(actor, deleted=form.wants_deleted), form.parameters)
    paginator = list_paginator()
    rows = authentic(paginator.paginate_queryset(secrets, request, view=_SecretOrder()))
    current = next((item for item in environments if item.name == request.GET.get("environment")), None)
    places = [current] if current else environments
    cells = cells_of(secrets=rows)
    context = {
        "rows": [list_row(secret, cells[secret.uuid]) for secret in rows],
        "shows_cells": any(cells.values()),
        "filters": form,
        "active_filters": active_filters(form, request.GET),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
        "can_create": any(_may_create(request, place) for place in places),
        "create_url": reverse("secret-new") + (f"?environment={current.name}" if current else ""),
        "environment": current,
    }
    partial = request.headers.get("HX-Request") and not request.headers.get("HX-Boosted")
    return render(
        request, "secrets_app/_secret_rows.html" if partial else "secrets_app/secret_list.html", context
    )


@login_required
@require_GET
def secret_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a secret, its value masked."""
    secret = find_secret(actor=principal_of(request), id=id, deleted=None)
    require_authentic(secret)
    return _detail(request, secret)


@login_required
@require_POST
def secret_reveal(request: HttpRequest, id: int) -> HttpResponse:
    """Show the value of a secret, or of one of its versions, until it masks itself again."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    revealed = reveal(actor=actor, secret=secret, number=_number(request, "version"))
    shown = {
        "value": revealed.value,
        "fields": value_fields(secret.secret_type, revealed.value),
        "version": revealed.version.number,
        "mask_after": MASK_AFTER_SECONDS,
    }
    if request.headers.get("HX-Request"):
        return render(request, "secrets_app/_value_revealed.html", shown)
    return _detail(request, secret, revealed=shown)


@login_required
@require_POST
def secret_copy(request: HttpRequest, id: int) -> HttpResponse:
    """Return the value alone, for the clipboard."""
    actor = principal_of(request)
    revealed = reveal(actor=actor, secret=find_secret(actor=actor, id=id), number=_number(request, "version"))
    return HttpResponse(revealed.value, content_type="text/plain; charset=utf-8")


@login_required
@require_http_methods(["GET", "POST"])
def secret_new(request: HttpRequest) -> HttpResponse:
    """Create a secret."""
    actor = principal_of(request)
    environments = _writable_environments(request)
    initial = {"environment": request.GET.get("environment", ""), "secret_type": SecretType.PASSWORD}
    form = SecretForm(request.POST or None, environments=environments, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            secret = writing.create(
                actor=actor,
                environment=given["environment"],
                name=given["name"],
                secret_type=SecretType(given["secret_type"]),
                value=given["value"],
                comment=given["comment"],
                **form.metadata,
            )
        except InvalidInput as error:
            form.add_error(error.field if error.field in form.fields else None, error.reason)
        except NameTaken as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, f"{secret.name} was created.")
            return redirect("secret-detail", id=secret.pk)
    return _form(request, form, secret=None)


@login_required
@require_http_methods(["GET", "POST"])
def secret_edit(request: HttpRequest, id: int) -> HttpResponse:
    """Change a secret; should somebody have been quicker, nothing that was entered is lost."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    form = SecretForm(
        request.POST or None,
        environments=Environment.objects.filter(pk=secret.environment_id),
        secret=secret,
        initial=SecretForm.initial_of(secret),
    )
    conflict = None
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            writing.update(
                actor=actor,
                secret=secret,
                value=given["value"] or None,
                secret_type=SecretType(given["secret_type"]),
                expected=given["expected"] or None,
                comment=given["comment"],
                **form.metadata,
            )
        except InvalidInput as error:
            form.add_error(error.field if error.field in form.fields else None, error.reason)
        except StaleVersion:
            secret = find_secret(actor=actor, id=id)
            conflict = {
                "version": secret.current_number,
                "at": secret.updated_at,
                "url": reverse("secret-detail", args=[secret.pk]),
            }
            # Saving again is then a decision made in the knowledge of the newer version.
            form.data = {**request.POST.dict(), "expected": secret.etag}
        else:
            messages.success(request, f"{secret.name} was saved.")
            return redirect("secret-detail", id=secret.pk)
    return _form(request, form, secret=secret, conflict=conflict)


@login_required
@require_POST
def secret_rollback(request: HttpRequest, id: int) -> HttpResponse:
    """Make the value of an earlier version current again."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    number = _number(request, "version")
    if number is None:
        raise InvalidInput("version", "Choose a version.")
    writing.rollback(actor=actor, secret=secret, number=number, expected=request.POST.get("expected") or None)
    messages.success(request, f"The value of v{number} is current again, as v{secret.current_number}.")
    return redirect("secret-detail", id=secret.pk)


@login_required
@require_http_methods(["GET", "POST"])
def secret_delete(request: HttpRequest, id: int) -> HttpResponse:
    """Delete a secret softly, after a question."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    typed_name = secret.environment.name if secret.environment.protected else ""
    if request.method == "GET" or (typed_name and request.POST.get("typed") != typed_name):
        return _confirm(
            request,
            typed_name=typed_name,
            title=f"Delete {secret.name}?",
            text="Readers get an error from now on. It can be restored with its history until it is purged.",
            action=reverse("secret-delete", args=[id]),
            label="Delete",
            secret=secret,
        )
    lifecycle.delete(actor=actor, secret=secret)
    messages.success(request, f"{secret.name} was deleted. It can be restored from its page.")
    return redirect("secret-detail", id=secret.pk)


@login_required
@require_POST
def secret_restore(request: HttpRequest, id: int) -> HttpResponse:
    """Bring a deleted secret back."""
    actor = principal_of(request)
    secret = lifecycle.restore(actor=actor, secret=find_secret(actor=actor, id=id, deleted=None))
    messages.success(request, f"{secret.name} was restored.")
    return redirect("secret-detail", id=secret.pk)


@login_required
@require_http_methods(["GET", "POST"])
def secret_purge(request: HttpRequest, id: int) -> HttpResponse:
    """Destroy a deleted secret for ever, after its name was typed."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    if request.method == "GET" or request.POST.get("typed") != secret.name:
        return _confirm(
            request,
            title=f"Destroy {secret.name} for ever?",
            text="All its versions are destroyed; nobody can bring them back. The record stays.",
            action=reverse("secret-purge", args=[id]),
            label="Destroy for ever",
            secret=secret,
            typed_name=secret.name,
        )
    lifecycle.purge(actor=actor, secret=secret)
    messages.success(request, f"{secret.name} was destroyed.")
    return redirect("secret-list")


@login_required
@require_POST
def secret_generate(request: HttpRequest) -> HttpResponse:
    """Return a generated value for the form; nothing is stored."""
    kind = request.POST.get("kind", "")
    generated = generate(kind, options_from_form(kind, request.POST))
    context = {
        "kind": kind,
        "value": generated.value,
        "public": generated.public,
        "secret_type": generated.secret_type,
    }
    partial = request.headers.get("HX-Request")
    template = "secrets_app/_generated.html" if partial else "secrets_app/generated.html"
    return render(request, template, context)


def _detail(request: HttpRequest, secret: Secret, *, revealed: dict[str, Any] | None = None) -> HttpResponse:
    actor = principal_of(request)
    versions = _shown_versions(request, secret)
    has_older = len(versions) > _VERSIONS_SHOWN
    context = {
        "secret": secret,
        "environment": secret.environment,
        "type_label": secret.get_secret_type_display(),
        "versions": [
            {
                "number": version.number,
                "author": version.author,
                "comment": version.comment,
                "created_at": version.created_at,
                "is_current": version.number == secret.current_number,
            }
            for version in versions[:_VERSIONS_SHOWN]
        ],
        "older_versions_url": f"?before={versions[_VERSIONS_SHOWN - 1].number}" if has_older else "",
        "events": search.events(viewer=actor, object_uuid=secret.uuid)[:_EVENTS_SHOWN],
        "can": rights(actor, secret),
        "urls": secret_urls(secret) | _activity_url(request, secret),
        "panels": panels_of(actor=actor, secret=secret),
        "purge_at": purge_time(secret),
        "mask_after": MASK_AFTER_SECONDS,
        **(revealed or {}),
    }
    enter(request, secret.environment)
    return render(request, "secrets_app/secret_detail.html", context)


def _shown_versions(request: HttpRequest, secret: Secret) -> list[SecretVersion]:
    """Return the versions of the page, newest first, and one more if there are older ones."""
    versions = SecretVersion.objects.filter(secret_id=secret.pk).defer("value")
    before = whole_number(request.GET.get("before", ""), largest=_MAX_NUMBER)
    if before is not None:
        versions = versions.filter(number__lt=before)
    return list(versions[: _VERSIONS_SHOWN + 1])


def _activity_url(request: HttpRequest, secret: Secret) -> dict[str, str]:
    """Return the address of all events of a secret, for those who may read the trail."""
    actor = principal_of(request)
    if not allows(actor, Action.TRAIL_VIEW, environment_id=secret.environment_id):
        return {}
    return {"activity": f"{reverse('activity')}?{urlencode({'object': secret.name})}"}


def _form(
    request: HttpRequest, form: SecretForm, *, secret: Secret | None, conflict: dict[str, Any] | None = None
) -> HttpResponse:
    context = {
        "form": form,
        "secret": secret,
        "environment": secret.environment if secret else None,
        "generators": list(GENERATORS.values()),
        "urls": {
            "generate": reverse("secret-generate"),
            "cancel": reverse("secret-detail", args=[secret.pk]) if secret else reverse("secret-list"),
        },
        "conflict": conflict,
    }
    if secret:
        enter(request, secret.environment)
    refused = bool(form.errors) or conflict is not None
    return render(request, "secrets_app/secret_form.html", context, status=422 if refused else 200)


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
    enter(request, secret.environment)
    return render(request, "confirm.html", context)


def _writable_environments(request: HttpRequest) -> Any:
    actor = principal_of(request)
    writable = [
        place.pk
        for place in Environment.objects.filter(visible_environments(actor))
        if _may_create(request, place)
    ]
    return Environment.objects.filter(pk__in=writable).order_by("position", "name")


def _may_create(request: HttpRequest, environment: Environment) -> bool:
    """Say whether the person may create something there, be it under a prefix only."""
    actor = principal_of(request)
    prefixes = {grant.prefix for grant in actor.grants if grant.environment_id == environment.pk}
    return any(
        allows(actor, Action.SECRET_CREATE, environment_id=environment.pk, name=prefix) for prefix in prefixes
    )


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.POST.get(name, "")
    if not text:
        return None
    number = whole_number(text, largest=_MAX_NUMBER)
    if number is None:
        raise InvalidInput(name, "Choose a version.")
    return number
