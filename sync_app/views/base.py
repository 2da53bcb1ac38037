"""What the pages of the sync share: the target, the user's rights there, the reason of a refusal."""

from types import SimpleNamespace
from typing import Any, Final

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from audit_app.events.actions import Action
from core.pagination import KeysetPagination
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import AccessError, ApprovalNeeded, Forbidden, Invisible
from environments_app.views.base import as_sentence
from secrets_app.errors import KeyRefused, KeyUnavailable
from sync_app import acts
from sync_app.errors import SyncError
from sync_app.models import Target
from sync_app.targets.lookup import find_target, require_target_access

# Errors that a user can correct, shown on the page of the request.
REFUSALS: Final = (SyncError, AccessError, KeyUnavailable, KeyRefused)
# In the address of a new target: what exists there is imported next.
IMPORT: Final = "import"


def require_target(request: HttpRequest, id: int, action: Action = Action.TARGET_VIEW) -> Target:
    """Return the target of an address, for an act on it.

    Raises Invisible or Forbidden; a denial is recorded.
    """
    row = Target.objects.filter(pk=id, live=True).select_related("environment").defer("credentials").first()
    if row is None:
        raise Invisible("There is no such target.")
    target = find_target(actor=principal_of(request), environment=row.environment, id=id)
    require_target_access(actor=principal_of(request), action=action, target=target)
    return target


def rights(actor: Principal, target: Target) -> dict[str, bool]:
    return {act.name: act.permitted(actor, target) for act in acts.TARGETS if act.takes}


def target_urls(target: Target) -> dict[str, str]:
    names = (
        "plan", "sync", "check", "rules", "credentials", "test", "pause", "resume", "adopt", "disconnect",
        "remove", "system",
    )  # fmt: skip
    return {name: reverse(f"target-{name}", args=[target.pk]) for name in names}


def page_of(request: HttpRequest, rows: QuerySet[Any], *, by: str) -> tuple[list[Any], dict[str, str | None]]:
    """Return a page of rows in the order of a field, and the links to the pages beside it."""
    order = SimpleNamespace(ordering_fields={by: by}, default_ordering=by)
    paginator = KeysetPagination()
    page = paginator.paginate_queryset(rows, request, view=order)
    links = {"next_url": paginator.get_next_link(), "previous_url": paginator.get_previous_link()}
    return page, links


def refused(request: HttpRequest, error: Exception, url: str) -> HttpResponse:
    """Show why an act was refused, on the page where it was requested.

    An act or object that the user may not do or see is answered as everywhere, and so is one that needs an
    approval: the page of the request opens.
    """
    if isinstance(error, ApprovalNeeded | Forbidden | Invisible):
        raise error
    messages.error(request, as_sentence(error))
    return redirect(url)


def environments_for_new_targets(actor: Principal) -> list[int]:
    """Return the environments in which the actor may create a target, even if only under a prefix."""
    prefixes = {(grant.environment_id, grant.prefix) for grant in actor.grants}
    return sorted(
        {
            place
            for place, prefix in prefixes
            if allows(actor, Action.TARGET_CREATE, environment_id=place, name=prefix)
        }
    )
