"""The pages on which secrets go out of use and come back: delete, restore, purge."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from environments_app.authentication.drf import principal_of
from environments_app.views.base import render_page
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_secret
from secrets_app.services import lifecycle


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


@login_required
@require_POST
def secret_restore(request: HttpRequest, id: int) -> HttpResponse:
    """Bring a deleted secret back."""
    actor = principal_of(request)
    secret = lifecycle.restore(actor=actor, secret=find_secret(actor=actor, id=id, deleted=None))
    messages.success(request, f"Restored {secret.name}.")
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
