"""The matrix of secrets: a row for each name, a column for each environment, gaps and differences.

Which environments are columns is remembered in the account. The page of a row writes its name in several
environments, each by the ordinary use case with its own result. A column is written as an import.
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
from django.views.decorators.http import require_http_methods, require_safe

from audit_app.events.actions import Action
from environments_app.approvals.gate import needs_second_person
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.errors import InvalidField
from environments_app.models import Environment
from environments_app.users.preferences import MAX_MATRIX, choose_matrix, settings_of
from environments_app.views.base import render_page
from secrets_app.errors import TooManyItems
from secrets_app.forms.secret import FilterForm
from secrets_app.importing.plan import guess_type
from secrets_app.models import Secret
from secrets_app.queries.browsing import NAMES_SHOWN, NamePage, page_of_names, secrets_by_name
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import environments_where, find_secret_by_name, visible_secrets
from secrets_app.services import write
from secrets_app.services.comparison import Difference, compare_across
from secrets_app.types.registry import SecretType
from secrets_app.values.batch_results import ItemResult, run_item
from secrets_app.values.names import validate_secret_name
from secrets_app.views.links import list_url, view_links
from secrets_app.views.matrix_writes import column_entry, promotion_page

# Columns at first; a person chooses others, and more.
MAX_COLUMNS: Final = 10
_FILTERS: Final = ("q", "type", "tag", "owner", "prefix", "gaps", "with", "edit")
# Of these, what chooses columns and not names.
_KEPT: Final = {"with", "edit"}
_AT_LEAST: Final = 2


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def secret_matrix(request: HttpRequest) -> HttpResponse:
    """Show which names exist where; by POST also which values differ, which is recorded as a comparison.

    Other acts choose the columns, promote, and write the column that the address names.
    """
    actor, act = principal_of(request), request.POST.get("act")
    places = _places(actor)
    if act == "columns":
        return _chosen(request, actor)
    if act in {"promotion", "promote"}:
        return promotion_page(request)
    columns = _columns(request, actor, places)
    editable = list(environments_where(actor, Action.SECRET_IMPORT))
    editing = next((place for place in editable if place.name == request.GET.get("edit")), None)
    query = {name: request.GET[name] for name in _FILTERS if request.GET.get(name)}
    secrets = narrow(visible_secrets(actor), query, actor=actor).filter(environment__in=columns)
    if "gaps" in query:
        secrets = secrets.filter(name__in=_with_gaps(actor, columns))
    filtered = bool(query.keys() - _KEPT)
    page = page_of_names(secrets, after=request.GET.get("after", ""), before=request.GET.get("before", ""))
    comparable = [place for place in columns if allows(actor, Action.SECRET_COMPARE, environment_id=place.pk)]
    can_compare = len(comparable) >= _AT_LEAST and "edit" not in query
    result: dict[str, Any] = {}
    if request.method == "POST" and can_compare:
        result = _compared(request, actor, comparable, secrets if filtered else None, page)
        page = result.get("page", page)
    # The filters choose the names; a row then shows each place of its name.
    secrets_of = secrets_by_name(visible_secrets(actor).filter(environment__in=columns), page.names)
    if editing:
        of_column = {name: secrets_of[name].get(editing.pk) for name in page.names}
        result = column_entry(request, editing, of_column, under=query.get("prefix", "").removesuffix("/"))
    found, kept = result.get("found", {}), {key: query[key] for key in query.keys() & {"with"}}
    rows = [
        _row(actor, name, columns, secrets_of[name], found.get(name, {}))
        | {"edit_query": urlencode({"name": name} | kept), "entry": result.get("fields", {}).get(name)}
        for name in page.names
    ]
    back_url = _link({key: query[key] for key in query if key != "edit"})
    context = {
        **result,
        "places": [(place, place in columns) for place in places],
        "most": MAX_MATRIX,
        "columns": columns,
        "heads": [
            (place, _link(query | {"edit": place.name}) if place in editable and place != editing else "")
            for place in columns
        ],
        "more_columns": len(places) - len(columns),
        "rows": rows,
        "promotable": comparable,
        "can_compare": can_compare,
        "compared": comparable if "found" in result else [],
        "filters": FilterForm(request.GET, environments=places),
        "views": view_links(request),
        "query": query,
        "filtered": filtered,
        "gaps_url": list_url(request, view="matrix", gaps="" if "gaps" in query else "on"),
        "clear_url": list_url(request, view="matrix", **dict.fromkeys(set(_FILTERS) - _KEPT, "")),
        "cancel_url": back_url,
        "list_url": back_url,
        "environment": editing,
        "refuses_edit": "edit" in query and editing is None,
        **_pages(page, query),
    }
    return render_page(request, "secrets_app/matrix.html", context, partial="secrets_app/_import.html")


@require_safe
def moved(request: HttpRequest, page: str) -> HttpResponse:
    """Lead the addresses of pages that the matrix replaced to the same selection in it."""
    if page == "compare":
        names = [request.GET[side] for side in ("left", "right") if request.GET.get(side)]
        return redirect(_link({"with": ",".join(names)} if names else {}))
    query = {"edit": request.GET.get("environment", ""), "prefix": request.GET.get("prefix", "")}
    return redirect(_link({key: value for key, value in query.items() if value}))


def _link(query: Mapping[str, str]) -> str:
    url = reverse("secret-matrix")
    return f"{url}?{urlencode(query)}" if query else url


def _compared(
    request: HttpRequest,
    actor: Principal,
    places: Sequence[Environment],
    filtered: QuerySet[Secret, Any] | None,
    page: NamePage,
) -> dict[str, Any]:
    """Compare the names of the page, or all of them to return a page of those that are not the same."""
    if request.POST.get("act") != "differences":
        return {"found": compare_across(actor=actor, environments=places, names=page.names)}
    names = None if filtered is None else filtered.order_by().values("name")
    try:
        found = compare_across(actor=actor, environments=places, names=names)
    except TooManyItems as error:
        messages.error(request, str(error))
        return {}
    different = {name for name, each in found.items() if Difference.DIFFERENT in each.values()}
    apart = sorted(different | {name for name, each in found.items() if len(each) < len(places)})
    shown = [name for name in apart if name > request.POST.get("after", "")]
    return {
        "found": found,
        "page": NamePage(names=shown[:NAMES_SHOWN], has_previous=False, has_next=False),
        "more": shown[NAMES_SHOWN - 1] if len(shown) > NAMES_SHOWN else "",
        "summary": [
            ("different", "different", len(different)),
            ("missing", "missing or not compared", len(apart) - len(different)),
            ("same", "same", len(found) - len(apart)),
        ],
    }


def _places(actor: Principal) -> list[Environment]:
    return list(Environment.objects.filter(visible_environments(actor)).order_by("position", "name"))


def _columns(request: HttpRequest, actor: Principal, places: Sequence[Environment]) -> list[Environment]:
    """Return the environments to show: several that the address is about, or one before those chosen."""
    wanted = [request.GET.get("edit", ""), *request.GET.get("with", "").split(",")]
    by_name = {place.name: place for place in places}
    about = [by_name[name] for name in dict.fromkeys(wanted) if name in by_name]
    if len(about) >= _AT_LEAST:
        return about[:MAX_MATRIX]
    names = settings_of(actor).matrix_environments or []
    chosen = [place for place in places if place.name in names] or list(places[:MAX_COLUMNS])
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
        "held_in": ",".join(place.name for place in columns if place.pk in secrets),
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
    return {
        "next_url": _link({**query, "after": page.names[-1]}) if page.has_next and page.names else None,
        "previous_url": _link({**query, "before": page.names[0]})
        if page.has_previous and page.names
        else None,
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
    back_url = _link({"with": request.GET["with"]} if request.GET.get("with") else {})
    results: list[ItemResult] = []
    if request.method == "POST":
        results = [
            run_item(place.name, partial(_written, request, place, name, text))
            for place, text in _entered(request, columns)
        ]
        if results and all(result.done for result in results):
            messages.success(request, f"Saved {name} in {', '.join(result.name for result in results)}.")
            return redirect(back_url)
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
    goals = [cell for cell in cells if cell["writable"] and _may_compare(actor, cell["place"])]
    context = {
        "name": name,
        "cells": cells,
        "results": results,
        "nothing": request.method == "POST" and not results,
        "sources": [cell for cell in cells if cell.get("readable") and _may_compare(actor, cell["place"])],
        "goals": goals,
        "goal": next((cell for cell in goals if "version" not in cell), goals[-1] if goals else None),
        "back_url": back_url,
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
