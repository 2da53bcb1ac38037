"""The matrix of secrets: a row for each name, a column for each environment, gaps and differences."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.models import Environment
from environments_app.views.base import render_page
from secrets_app.forms.secret import FilterForm
from secrets_app.models import Secret
from secrets_app.queries.browsing import NamePage, page_of_names, secrets_by_name
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import visible_secrets
from secrets_app.services.comparison import Difference, compare_across
from secrets_app.views.links import list_url, view_links

# Columns beyond these would fit no screen; the list and the comparison have every environment.
MAX_COLUMNS: Final = 10
_FILTERS: Final = ("q", "type", "tag", "owner", "prefix")
_AT_LEAST: Final = 2


@require_http_methods(["GET", "POST"])
def secret_matrix(request: HttpRequest) -> HttpResponse:
    """Show which names exist where; by POST also which values differ, which is recorded as a comparison."""
    actor = principal_of(request)
    places = list(Environment.objects.filter(visible_environments(actor)).order_by("position", "name"))
    columns = places[:MAX_COLUMNS]
    params = request.GET
    query = {name: params[name] for name in _FILTERS if params.get(name)}
    secrets = narrow(visible_secrets(actor), query, actor=actor).filter(environment__in=columns)
    page = page_of_names(secrets, after=params.get("after", ""), before=params.get("before", ""))
    # The filters choose the names; a row then shows each place of its name.
    secrets_of = secrets_by_name(visible_secrets(actor).filter(environment__in=columns), page.names)
    compared = [place for place in columns if allows(actor, Action.SECRET_COMPARE, environment_id=place.pk)]
    differences: Mapping[str, Mapping[int, Difference]] = {}
    if request.method == "POST" and len(compared) >= _AT_LEAST:
        differences = compare_across(actor=actor, environments=compared, names=page.names)
    context = {
        "columns": columns,
        "more_columns": len(places) - len(columns),
        "rows": [
            _row(actor, name, columns, secrets_of[name], differences.get(name, {})) for name in page.names
        ],
        "can_compare": len(compared) >= _AT_LEAST,
        "compared": bool(differences),
        "filters": FilterForm(params, environments=places),
        "views": view_links(request),
        "query": query,
        "clear_url": list_url(request, view="matrix", **dict.fromkeys(_FILTERS, "")),
        **_pages(page, query),
    }
    return render_page(request, "secrets_app/matrix.html", context, refused=False)


def _row(
    actor: Principal,
    name: str,
    columns: Sequence[Environment],
    secrets: Mapping[int, Secret],
    differences: Mapping[int, Difference],
) -> dict[str, Any]:
    cells = [_cell(actor, name, place, secrets.get(place.pk), differences.get(place.pk)) for place in columns]
    return {"name": name, "cells": cells, "gaps": len(columns) - len(secrets), "is_alone": len(secrets) == 1}


def _cell(
    actor: Principal, name: str, place: Environment, secret: Secret | None, difference: Difference | None
) -> dict[str, Any]:
    """Return one name in one environment: its version and whether the value differs, or a gap."""
    if secret is None:
        may = allows(actor, Action.SECRET_CREATE, environment_id=place.pk, name=name)
        query = urlencode({"environment": place.name, "name": name})
        return {"place": place, "create_url": f"{reverse('secret-new')}?{query}" if may else ""}
    return {
        "place": place,
        "url": reverse("secret-detail", args=[secret.pk]),
        "version": secret.current_number,
        "difference": str(difference or ""),
    }


def _pages(page: NamePage, query: Mapping[str, str]) -> dict[str, str | None]:
    url = reverse("secret-matrix")
    following = urlencode({**query, "after": page.names[-1]}) if page.names else ""
    earlier = urlencode({**query, "before": page.names[0]}) if page.names else ""
    return {
        "next_url": f"{url}?{following}" if page.has_next and following else None,
        "previous_url": f"{url}?{earlier}" if page.has_previous and earlier else None,
    }
