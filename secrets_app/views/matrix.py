"""The matrix of secrets: a row for each name, a column for each environment, gaps and differences.

Which environments are columns is remembered in the account. The page of a row writes its name in several
environments, each by the ordinary use case with its own result.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from environments_app.approvals.gate import needs_second_person
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.errors import InvalidField
from environments_app.models import Environment
from environments_app.users.preferences import MAX_MATRIX, choose_matrix, settings_of
from environments_app.views.base import render_page
from secrets_app.forms.secret import FilterForm
from secrets_app.importing.plan import guess_type
from secrets_app.models import Secret
from secrets_app.queries.browsing import NamePage, page_of_names, secrets_by_name
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import find_secret_by_name, visible_secrets
from secrets_app.services import write
from secrets_app.services.comparison import Difference, compare_across
from secrets_app.types.registry import SecretType
from secrets_app.values.batch_results import ItemResult, run_item
from secrets_app.values.names import validate_secret_name
from secrets_app.views.links import list_url, view_links

# Columns at first; a person chooses others, and more.
MAX_COLUMNS: Final = 10
_FILTERS: Final = ("q", "type", "tag", "owner", "prefix", "gaps", "with")
_AT_LEAST: Final = 2


@require_http_methods(["GET", "POST"])
def secret_matrix(request: HttpRequest) -> HttpResponse:
    """Show which names exist where; by POST also which values differ, which is recorded as a comparison."""
    actor = principal_of(request)
    places = _places(actor)
    if request.POST.get("act") == "columns":
        return _chosen(request, actor)
    columns = _columns(request, actor, places)
    params = request.GET
    query = {name: params[name] for name in _FILTERS if params.get(name)}
    secrets = narrow(visible_secrets(actor), query, actor=actor).filter(environment__in=columns)
    if "gaps" in query:
        secrets = secrets.filter(name__in=_with_gaps(actor, columns))
    page = page_of_names(secrets, after=params.get("after", ""), before=params.get("before", ""))
    # The filters choose the names; a row then shows each place of its name.
    secrets_of = secrets_by_name(visible_secrets(actor).filter(environment__in=columns), page.names)
    compared = [place for place in columns if allows(actor, Action.SECRET_COMPARE, environment_id=place.pk)]
    differences: Mapping[str, Mapping[int, Difference]] = {}
    if request.method == "POST" and len(compared) >= _AT_LEAST:
        differences = compare_across(actor=actor, environments=compared, names=page.names)
    context = {
        "places": [(place, place in columns) for place in places],
        "most": MAX_MATRIX,
        "columns": columns,
        "more_columns": len(places) - len(columns),
        "rows": [
            _row(actor, name, columns, secrets_of[name], differences.get(name, {}))
            | {"edit_query": urlencode({"name": name} | ({"with": query["with"]} if "with" in query else {}))}
            for name in page.names
        ],
        "can_compare": len(compared) >= _AT_LEAST,
        "compared": bool(differences),
        "filters": FilterForm(params, environments=places),
        "views": view_links(request),
        "query": query,
        "filtered": bool(query.keys() - {"with"}),
        "gaps_url": list_url(request, view="matrix", gaps="" if "gaps" in query else "on"),
        "clear_url": list_url(request, view="matrix", **dict.fromkeys(_FILTERS, "")),
        **_pages(page, query),
    }
    return render_page(request, "secrets_app/matrix.html", context, refused=False)


def _places(actor: Principal) -> list[Environment]:
    return list(Environment.objects.filter(visible_environments(actor)).order_by("position", "name"))


def _columns(request: HttpRequest, actor: Principal, places: Sequence[Environment]) -> list[Environment]:
    """Return the environments to show: those the person chose, behind the one that the address is about."""
    names = settings_of(actor).matrix_environments or []
    chosen = [place for place in places if place.name in names] or list(places[:MAX_COLUMNS])
    about = [place for place in places if place.name == request.GET.get("with")]
    return [*about, *(place for place in chosen if place not in about)][:MAX_MATRIX]


def _chosen(request: HttpRequest, actor: Principal) -> HttpResponse:
    try:
        choose_matrix(actor=actor, environments=request.POST.getlist("show"))
    except InvalidField as error:
        messages.error(request, error.reason)
    return redirect(list_url(request, view="matrix", **{"with": ""}))


def _with_gaps(actor: Principal, columns: Sequence[Environment]) -> QuerySet[Secret, Any]:
    """Return the names that some of these environments lack, as far as the actor sees them."""
    names = visible_secrets(actor).filter(environment__in=columns).select_related(None).order_by()
    counted = names.values("name").annotate(places=Count("environment_id", distinct=True))
    return counted.filter(places__lt=len(columns)).values("name")


def _row(
    actor: Principal,
    name: str,
    columns: Sequence[Environment],
    secrets: Mapping[int, Secret],
    differences: Mapping[int, Difference],
) -> dict[str, Any]:
    cells = [_cell(actor, name, place, secrets.get(place.pk), differences.get(place.pk)) for place in columns]
    return {
        "name": name,
        "cells": cells,
        "gaps": len(columns) - len(secrets),
        "is_alone": len(secrets) == 1,
        "writable": any(cell["writable"] for cell in cells),
    }


def _cell(
    actor: Principal, name: str, place: Environment, secret: Secret | None, difference: Difference | None
) -> dict[str, Any]:
    """Return one name in one environment: its version and whether the value differs, or a gap."""
    action = Action.SECRET_UPDATE if secret else Action.SECRET_CREATE
    writable = allows(actor, action, environment_id=place.pk, name=name)
    if secret is None:
        query = urlencode({"environment": place.name, "name": name})
        url = f"{reverse('secret-new')}?{query}" if writable else ""
        return {"place": place, "create_url": url, "writable": writable}
    return {
        "place": place,
        "url": reverse("secret-detail", args=[secret.pk]),
        "version": secret.current_number,
        "etag": secret.etag,
        "difference": str(difference or ""),
        "writable": writable,
        "readable": allows(actor, Action.SECRET_COPY, environment_id=place.pk, name=name),
    }


def _pages(page: NamePage, query: Mapping[str, str]) -> dict[str, str | None]:
    url = reverse("secret-matrix")
    following = urlencode({**query, "after": page.names[-1]}) if page.names else ""
    earlier = urlencode({**query, "before": page.names[0]}) if page.names else ""
    return {
        "next_url": f"{url}?{following}" if page.has_next and following else None,
        "previous_url": f"{url}?{earlier}" if page.has_previous and earlier else None,
    }


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def secret_row(request: HttpRequest) -> HttpResponse:
    """Write one name in several environments; a field that stays empty leaves its environment as it is."""
    actor = principal_of(request)
    if request.method == "GET" and "name" not in request.GET:
        return redirect("secret-matrix")
    name = validate_secret_name((request.POST or request.GET).get("name", ""))
    columns = _columns(request, actor, _places(actor))
    results: list[ItemResult] = []
    if request.method == "POST":
        results = [
            run_item(place.name, partial(_written, request, place, name, text))
            for place, text in _entered(request, columns)
        ]
        if results and all(result.done for result in results):
            messages.success(request, f"Saved {name} in {', '.join(result.name for result in results)}.")
            return redirect("secret-matrix")
    secrets = secrets_by_name(visible_secrets(actor).filter(environment__in=columns), [name])[name]
    failed = {result.name: result.reason for result in results if not result.done}
    cells = [
        {
            **_cell(actor, name, place, secrets.get(place.pk), None),
            "asks": needs_second_person(actor, place),
            "reason": failed.get(place.name, ""),
            "typed": request.POST.get(f"value-{place.name}", "") if place.name in failed else "",
        }
        for place in columns
    ]
    context = {
        "name": name,
        "cells": cells,
        "results": results,
        "nothing": request.method == "POST" and not results,
        "sources": [cell for cell in cells if cell.get("readable") and _may_compare(actor, cell["place"])],
        "goals": [cell for cell in cells if cell["writable"] and _may_compare(actor, cell["place"])],
        "back_url": reverse("secret-matrix"),
    }
    return render_page(request, "secrets_app/matrix_row.html", context, refused=bool(failed))


def _may_compare(actor: Principal, place: Environment) -> bool:
    return allows(actor, Action.SECRET_COMPARE, environment_id=place.pk)


def _entered(request: HttpRequest, columns: Sequence[Environment]) -> list[tuple[Environment, str]]:
    """Return the environments that a value was entered for; of browsers' CR LF, one LF is left."""
    texts = [(place, request.POST.get(f"value-{place.name}", "")) for place in columns]
    return [(place, text.replace("\r\n", "\n")) for place, text in texts if text]


def _written(request: HttpRequest, place: Environment, name: str, text: str) -> int:
    """Write one cell as the page showed it: a version that is there, or a gap."""
    actor = principal_of(request)
    seen = request.POST.get(f"seen-{place.name}", "")
    if seen:
        secret = find_secret_by_name(actor=actor, environment=place, name=name)
        return int(write.update(actor=actor, secret=secret, value=text, expected=seen).pk)
    others = secrets_by_name(visible_secrets(actor), [name])[name].values()
    kind = next((SecretType(other.secret_type) for other in others), guess_type(name, text))
    return int(write.create(actor=actor, environment=place, name=name, secret_type=kind, value=text).pk)
