"""A secret's own page; every value is shown by POST and recorded."""

from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from audit_app.queries import search, usage_index
from core.parsing import whole_number
from environments_app.approvals.access_proposals import duration_words
from environments_app.approvals.service import in_state, pending_about, resolved_for
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import SUSPENDED, Principal, allows, is_suspended
from environments_app.models import Approval, ApprovalState
from environments_app.views.base import is_partial, render_page
from environments_app.views.program_releases import release_panel
from secrets_app.errors import InvalidInput
from secrets_app.exposure import seen_by
from secrets_app.forms.secret import MAX_NUMBER, version_number
from secrets_app.interfaces import panels_of
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.browsing import stars_among
from secrets_app.queries.lookup import find_secret, require_authentic, require_not_deleted
from secrets_app.services.decoys import warnings_of
from secrets_app.services.lifecycle import purge_time
from secrets_app.services.read import RevealedValue, reveal
from secrets_app.services.share import open_shares
from secrets_app.types.registry import SecretType
from secrets_app.views.presenters import MASK_AFTER_SECONDS, fact_rows, rights, secret_actions, value_fields
from secrets_app.views.snippets import snippets

_VERSIONS_SHOWN: Final = 50
_EVENTS_SHOWN: Final = 10
_VIEWERS_SHOWN: Final = 25
_MOST_VIEWERS: Final = 1_000_000


@require_GET
def secret_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a secret, its value masked; `viewers=N` adds those who have viewed it, from the Nth."""
    secret = find_secret(actor=principal_of(request), id=id, deleted=None)
    require_authentic(secret)
    if "viewers" in request.GET and is_partial(request):
        context = _viewers(request, secret) | {"urls": _activity_url(request, secret)}
        return render(request, "secrets_app/_viewers_panel.html", context)
    return _detail(request, secret)


@require_POST
def secret_reveal(request: HttpRequest, id: int) -> HttpResponse:
    """Show a value until it masks itself again.

    `shape=fields` shows the names of its fields alone, `field` one of them, `shape=row` the value in a row.
    """
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    if not secret.live:
        return show_deleted(request, secret)
    revealed = reveal(actor=actor, secret=secret, number=version_number(request))
    if "field" in request.POST:
        content = _field_of(revealed, request.POST["field"])
        return render(request, "secrets_app/_field_revealed.html", {"content": content})
    display = {
        "value": revealed.value,
        "fields": value_fields(revealed.secret_type, revealed.value),
        "version": revealed.version.number,
        # A page shows none at the end of a text.
        "ends_with_break": revealed.value.endswith("\n"),
        "mask_after": MASK_AFTER_SECONDS,
    }
    if is_partial(request) and request.POST.get("shape") == "row":
        row = {"id": secret.pk, "name": secret.name}
        return render(request, "secrets_app/_row_value.html", display | row)
    if is_partial(request):
        by_field = request.POST.get("shape") == "fields" and display["fields"]
        template = "_value_fields.html" if by_field else "_value_revealed.html"
        context = display | _access_panels(request, secret)
        context |= {"oob": True, "secret": secret, "template": f"secrets_app/{template}"}
        return render(request, "secrets_app/_revealed.html", context)
    return _detail(request, secret, revealed=display)


@require_POST
def secret_copy(request: HttpRequest, id: int) -> HttpResponse:
    """Return the value, or one of its fields, alone, for the clipboard."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    require_not_deleted(secret)
    revealed = reveal(actor=actor, secret=secret, number=version_number(request))
    value = _field_of(revealed, request.POST["field"]) if "field" in request.POST else revealed.value
    return HttpResponse(value, content_type="text/plain; charset=utf-8")


def show_deleted(request: HttpRequest, secret: Secret) -> HttpResponse:
    """Lead to the page of a secret that was deleted meanwhile, where it can be restored."""
    messages.warning(request, f"{secret.name} was deleted. Restore it first.")
    page = reverse("secret-detail", args=[secret.pk])
    return HttpResponse(headers={"HX-Redirect": page}) if is_partial(request) else redirect(page)


def _field_of(revealed: RevealedValue, name: str) -> str:
    fields = dict(value_fields(revealed.secret_type, revealed.value) or [])
    if name not in fields:
        raise InvalidInput("field", "The value has no such field.")
    return fields[name]


def _detail(request: HttpRequest, secret: Secret, *, revealed: dict[str, Any] | None = None) -> HttpResponse:
    actor = principal_of(request)
    versions = _shown_versions(request, secret)
    has_older = len(versions) > _VERSIONS_SHOWN
    can = rights(actor, secret)
    # Only who reads the audit log may know it.
    is_decoy = secret.decoy and allows(actor, Action.TRAIL_VIEW, environment_id=secret.environment_id)
    held_back = is_suspended(actor, Action.SECRET_REVEAL, secret.environment_id, secret.name)
    context = {
        **_access_panels(request, secret),
        "secret": secret,
        "environment": secret.environment,
        "versions": versions[:_VERSIONS_SHOWN],
        "older_versions_url": f"?before={versions[_VERSIONS_SHOWN - 1].number}" if has_older else "",
        "can": can,
        "starred": secret.pk in stars_among(actor, [secret]),
        "actions": secret_actions(secret, can),
        "facts": fact_rows(secret),
        "snippets": snippets(request, secret) if can["reveal"] and not secret.guarded else [],
        "may_issue": allows(actor, Action.TOKEN_ISSUE, environment_id=secret.environment_id),
        # Where the role would allow the value, and a suspension holds it back.
        "suspension": SUSPENDED if held_back else "",
        "panels": panels_of(actor=actor, secret=secret),
        "pending": pending_about(actor, secret.uuid),
        "is_decoy": is_decoy,
        "decoy_warnings": warnings_of(secret) if is_decoy else [],
        "read_within": duration_words(settings.KEEPER_READ_APPROVAL_MINUTES),
        "path_guarded": secret.environment.guards(secret.name),
        **(
            release_panel(
                actor,
                secret.environment,
                about=(secret.uuid, secret.name),
                reads="secret",
                path=secret.name,
            )
            if secret.guarded
            else {}
        ),
        "released": _released(actor, secret) if secret.guarded else None,
        "purge_at": purge_time(secret),
        "structured": secret.secret_type in {SecretType.JSON, SecretType.YAML},
        "shares": open_shares(secret=secret),
        "mask_after": MASK_AFTER_SECONDS,
        **(revealed or {}),
    }
    return render_page(request, "secrets_app/secret_detail.html", context)


def _released(actor: Principal, secret: Secret) -> Approval | None:
    """Return the request by which the actor may show the value now."""
    ready = in_state(resolved_for(actor), ApprovalState.APPROVED)
    wanted = (Action.SECRET_REVEAL, secret.uuid)
    return next((row for row in ready if (row.action, row.object_uuid) == wanted), None)


def _access_panels(request: HttpRequest, secret: Secret) -> dict[str, Any]:
    actor = principal_of(request)
    return {
        **_viewers(request, secret),
        "events": search.events(viewer=actor, object_uuid=secret.uuid)[:_EVENTS_SHOWN],
        "urls": _activity_url(request, secret),
    }


def _viewers(request: HttpRequest, secret: Secret) -> dict[str, Any]:
    """Return a page of the secret's viewers, or its address: the panel loads later."""
    url = reverse("secret-detail", args=[secret.pk])
    if "viewers" not in request.GET:
        return {"viewers_url": f"{url}?viewers=0"}
    first = whole_number(request.GET["viewers"], largest=_MOST_VIEWERS) or 0
    viewers = seen_by(actor=principal_of(request), secret=secret)
    following = first + _VIEWERS_SHOWN
    return {
        "viewers": viewers[first:following],
        "viewers_count": len(viewers),
        "uncounted": usage_index.lag_text(usage_index.behind()),
        "more_viewers_url": f"{url}?viewers={following}" if viewers[following:] else "",
        "first_viewers_url": f"{url}?viewers=0" if first else "",
    }


def _shown_versions(request: HttpRequest, secret: Secret) -> list[SecretVersion]:
    versions = SecretVersion.objects.filter(secret_id=secret.pk).select_related("origin").defer("value")
    before = whole_number(request.GET.get("before", ""), largest=MAX_NUMBER)
    if before is not None:
        versions = versions.filter(number__lt=before)
    shown = list(versions[: _VERSIONS_SHOWN + 1])
    for version in shown:
        version.secret = secret
    return shown


def _activity_url(request: HttpRequest, secret: Secret) -> dict[str, str]:
    """Return the addresses of all events of a secret and of its reads, if the actor may read those."""
    actor = principal_of(request)
    if not allows(actor, Action.TRAIL_VIEW, environment_id=secret.environment_id):
        return {}
    about = {"object": secret.name, "environment": secret.environment.name}
    url = reverse("activity")
    return {
        "activity": f"{url}?{urlencode(about)}",
        "reads": f"{url}?{urlencode(about | {'action': search.EVERY_READ})}",
    }
