"""Many values edited as a table, as in a .env file: previewed, then written as one import."""

from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from environments_app.errors import ConfirmationNeeded
from environments_app.forms.authentication import confirm_link
from environments_app.models import Environment
from environments_app.views.base import render_page
from secrets_app.forms.transfer import MAX_ROWS, TableForm
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import environments_where, visible_secrets
from secrets_app.services.read import reveal_environment
from secrets_app.views.many_secrets.import_export import import_of

# The rest of the rows is for new names.
MAX_STORED: Final = 100
_LOAD: Final = "load"


@login_required
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def secret_table(request: HttpRequest) -> HttpResponse:
    """Edit the values of an environment, or of a folder of it, as a table; loading them is recorded."""
    actor = principal_of(request)
    given = request.POST if request.method == "POST" else request.GET
    places = environments_where(actor, Action.SECRET_IMPORT)
    place = places.filter(name=given.get("environment", "")).first() or places.first()
    prefix = given.get("prefix", "").removesuffix("/")
    loads = given.get("act") == _LOAD and request.method == "POST"
    sends = request.method == "POST" and not loads
    form = TableForm(request.POST if sends else None, environments=places, initial={"environment": place})
    shown: dict[str, Any] = import_of(request, form) if sends else {}
    names = _names(request, place, prefix) if place else []
    values: dict[str, str] = {}
    refused = ""
    if place and loads:
        try:
            values = _values(request, place, names)
        except ConfirmationNeeded:
            refused = confirm_link()
    context = {
        "form": form,
        "places": places,
        "environment": place,
        "prefix": prefix,
        "rows": _rows(names, values, prefix),
        "refused": refused,
        "loaded": bool(values),
        "verb": "Save",
        "done_word": "Saved",
        "more": len(names) == MAX_STORED,
        "cancel_url": reverse("secret-list") + (f"?environment={place.name}" if place else ""),
        **shown,
    }
    return render_page(request, "secrets_app/table.html", context, partial="secrets_app/_import.html")


def _names(request: HttpRequest, place: Environment, prefix: str) -> list[str]:
    """Return the first names of the place that the actor may read and change."""
    actor = principal_of(request)
    secrets = narrow(visible_secrets(actor), {"environment": place.name, "prefix": prefix})
    rows = verified_rows(secrets.order_by("name", "id")[:MAX_STORED])
    rights = (Action.SECRET_IMPORT, Action.SECRET_UPDATE, Action.SECRET_REVEAL)
    return [
        row.name
        for row in rows
        if all(allows(actor, right, environment_id=place.pk, name=row.name) for right in rights)
    ]


def _values(request: HttpRequest, place: Environment, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    found = reveal_environment(actor=principal_of(request), environment=place, names=set(names))
    return {each.name: each.value for each in found}


def _rows(names: list[str], values: dict[str, str], prefix: str) -> list[dict[str, Any]]:
    """Return the rows of the table: the stored names, then empty ones for new names."""
    rows = [
        {"index": index, "name": name, "value": values.get(name, ""), "stored": True}
        for index, name in enumerate(names)
    ]
    empty = range(len(rows), min(len(rows) + 10, MAX_ROWS))
    start = f"{prefix}/" if prefix else ""
    return [*rows, *({"index": index, "name": start, "value": "", "stored": False} for index in empty)]
