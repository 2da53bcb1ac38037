"""The list of secrets and the search of the top bar: rows, filters in words, counts; nothing is decrypted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.queries import usage_index
from audit_app.queries.search import begins
from core.pagination import KeysetPagination
from environments_app.approvals.gate import needs_second_person
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.models import Environment
from environments_app.views.base import is_partial, render_page
from secrets_app.forms.secret import FilterForm
from secrets_app.interfaces import Cell, cells_of, panel_filters
from secrets_app.models import Secret
from secrets_app.queries.browsing import directly_in, recent, starred, stars_among
from secrets_app.queries.filters import DEFAULT_ORDERING, ORDERINGS, narrow
from secrets_app.queries.lookup import can_in_any_scope, visible_secrets
from secrets_app.services.bulk_actions import BULK_ACTIONS, EXPORT, MAX_MATCHING
from secrets_app.views.links import column_heads, folder_steps, folder_tree, list_url, page_links, view_links
from secrets_app.views.presenters import MASK_AFTER_SECONDS


def list_row(secret: Secret, cells: Sequence[Cell], *, actor: Principal, starred: bool) -> dict[str, Any]:
    readable = secret.live is not None and allows(
        actor, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name
    )
    return {"secret": secret, "cells": cells, "can_reveal": readable, "starred": starred}


def active_filters(form: FilterForm, query: QueryDict) -> list[dict[str, str]]:
    """Return each filter in force, in words, with the address of the list without it."""
    chips = []
    for name in form.narrowing:
        text = query.get(name, "")
        if text:
            rest = query.copy()
            for dropped in (name, "cursor", "first"):
                rest.pop(dropped, None)
            url = f"?{rest.urlencode()}" if rest else reverse("secret-list")
            chips.append({"label": form.words(name, text), "remove_url": url})
    return chips


_FOUND: Final = 8
# The public form of a token, of a program or a person.
_TOKEN: Final = re.compile(r"kp[ru]_[A-Za-z0-9_-]{22}")
# The top bar looks through so many names for what occurs in them.
LOOKED_AT: Final = 10_000
# More are counted as "2,000+": a count reads each row that it counts.
MAX_COUNTED: Final = 2_000


class _SecretOrder:
    ordering_fields = ORDERINGS
    default_ordering = DEFAULT_ORDERING
    filter_names = (*FilterForm.base_fields, "prefix", *panel_filters())


@dataclass(frozen=True, kw_only=True)
class _Listing:
    secrets: QuerySet[Secret]
    rows: list[Secret]
    folders: list[dict[str, Any]]
    tree: list[dict[str, Any]]
    paginator: KeysetPagination


@require_GET
def secret_list(request: HttpRequest) -> HttpResponse:
    if _TOKEN.search(request.GET.get("q", "")):
        # Without it, so that no link of the page, and no list of visited pages, holds it.
        messages.warning(
            request, "This looks like a token. Managers find whose it is in Rotation, Find a leak."
        )
        return redirect("secret-list")
    actor = principal_of(request)
    environments = list(Environment.objects.filter(visible_environments(actor)).order_by("position", "name"))
    form = FilterForm(request.GET, environments=environments)
    if is_partial(request) and _leaves_environment(request):
        # The frame wears the colour of the environment, so the whole page is loaded.
        return HttpResponse(headers={"HX-Redirect": request.get_full_path()})
    listing = _listing(request, actor, form)
    current = next((item for item in environments if item.name == request.GET.get("environment")), None)
    may = partial(_may_somewhere, actor, [current] if current else environments)
    prefix = form.parameters["prefix"].removesuffix("/")
    context = {
        **_row_context(actor, listing, deleted=form.wants_deleted),
        **_counted(request, listing),
        "filters": form,
        "uncounted": usage_index.lag_text(usage_index.behind()) if request.GET.get("use") else "",
        "active_filters": active_filters(form, request.GET),
        "clear_url": list_url(request, **dict.fromkeys(form.narrowing, "")),
        "heads": column_heads(request),
        "views": view_links(request),
        "folders": listing.folders,
        "in_folders": sum(folder["count"] or 0 for folder in listing.folders),
        "tree": listing.tree,
        "path": folder_steps(request, prefix) if form.shows_folders else [],
        "can_create": may(Action.SECRET_CREATE),
        "can_import": may(Action.SECRET_IMPORT),
        "can_export": may(Action.SECRET_EXPORT),
        "create_url": reverse("secret-new") + (f"?environment={current.name}" if current else ""),
        "environment": current,
        "adds_to": _adds_to(request, actor, form, [current] if current else environments),
        "acts": _acts(may, deleted=form.wants_deleted),
        "is_partial": is_partial(request),
    }
    template, rows = "secrets_app/secret_list.html", "secrets_app/_secret_rows.html"
    return render_page(request, template, context, partial=rows, refused=False)


def _adds_to(
    request: HttpRequest, actor: Principal, form: FilterForm, places: Sequence[Environment]
) -> dict[str, Any] | None:
    """Return where the row above the list creates secrets: its environment, or the only possible one."""
    possible = [place for place in places if can_in_any_scope(actor, Action.SECRET_CREATE, place)]
    if len(possible) != 1 or form.wants_deleted or form.wants_starred or form.wants_recent:
        return None
    prefix = form.parameters["prefix"].removesuffix("/") if form.shows_folders else ""
    return {
        "place": possible[0],
        "asks": needs_second_person(actor, possible[0]),
        "start": f"{prefix}/" if prefix else "",
        "list_url": request.get_full_path(),
    }


def matching_secrets(actor: Principal, form: FilterForm) -> QuerySet[Secret]:
    """Return the secrets that a filter of the list finds, in no order. Raises InvalidInput."""
    secrets = narrow(visible_secrets(actor, deleted=form.wants_deleted), form.parameters, actor=actor)
    if form.wants_starred:
        secrets = secrets.filter(starred(actor))
    if form.wants_recent:
        secrets = secrets.filter(recent(actor))
    prefix = form.parameters["prefix"].removesuffix("/")
    return directly_in(secrets, prefix) if form.shows_folders else secrets


def _listing(request: HttpRequest, actor: Principal, form: FilterForm) -> _Listing:
    secrets = matching_secrets(actor, form)
    tree: list[dict[str, Any]] = []
    if form.shows_folders:
        within = {name: text for name, text in form.parameters.items() if name != "prefix"}
        every = narrow(visible_secrets(actor, deleted=form.wants_deleted), within, actor=actor)
        tree = folder_tree(request, every, form.parameters["prefix"].removesuffix("/"))
    folders = [] if request.GET.get("cursor") else [folder for folder in tree if folder["is_child"]]
    paginator = KeysetPagination()
    rows = verified_rows(paginator.paginate_queryset(secrets, request, view=_SecretOrder()))
    return _Listing(secrets=secrets, rows=rows, folders=folders, tree=tree, paginator=paginator)


def _row_context(actor: Principal, listing: _Listing, *, deleted: bool) -> dict[str, Any]:
    cells = cells_of(actor=actor, secrets=listing.rows)
    stars = stars_among(actor, listing.rows)
    rows = [
        list_row(secret, cells[secret.uuid], actor=actor, starred=secret.pk in stars)
        for secret in listing.rows
    ]
    return {
        "rows": rows,
        "shows_cells": any(cells.values()),
        "shows_owner": any(row.owner for row in listing.rows),
        "shows_expiry": any(row.expires_at for row in listing.rows),
        "can_reveal_any": any(row["can_reveal"] for row in rows),
        "deleted": deleted,
        "mask_after": MASK_AFTER_SECONDS,
    }


def _counted(request: HttpRequest, listing: _Listing) -> dict[str, Any]:
    """Return how many secrets match, where the page is among them, and the pages beside it."""
    total = listing.secrets.select_related(None).order_by().values("pk")[: MAX_COUNTED + 1].count()
    first, links = page_links(request, listing.paginator, len(listing.rows), total=total)
    return {
        "total": min(total, MAX_COUNTED),
        "counts_more": total > MAX_COUNTED,
        "first": first,
        "last": first + len(listing.rows) - 1 if first else None,
        "matching": min(total, MAX_MATCHING),
        **links,
    }


def _leaves_environment(request: HttpRequest) -> bool:
    """Return whether the page that htmx asks from shows another environment."""
    shown = parse_qs(urlsplit(request.headers.get("HX-Current-URL", "")).query)
    return shown.get("environment", [""])[-1] != request.GET.get("environment", "")


@require_GET
def secret_search(request: HttpRequest) -> HttpResponse:
    """Return the first few secrets that a search finds everywhere the actor may see, for the top bar."""
    text = request.GET.get("q", "").strip()
    if _TOKEN.search(text):
        text = ""
    actor = principal_of(request)
    secrets, is_capped = _found_everywhere(actor, text) if text else ([], False)
    context = {
        "q": text,
        "found": secrets,
        "is_capped": is_capped,
        "most": LOOKED_AT,
        "all_url": f"{reverse('secret-list')}?{urlencode({'q': text})}",
    }
    return render(request, "secrets_app/_found.html", context)


def _found_everywhere(actor: Principal, text: str) -> tuple[list[Secret], bool]:
    """Return the first few secrets that a search finds, and whether some were not looked at.

    Names that begin with the text come first, from an index. Of the others the first ones by name are looked
    through, so that a search does not cost more the more secrets there are.
    """
    visible = visible_secrets(actor)
    matching = narrow(visible, {"q": text}, actor=actor)
    end = None
    if visible.order_by()[LOOKED_AT : LOOKED_AT + 1].exists():
        # In the order of an index: of all, since that of what the actor may see would be sorted.
        names = Secret.objects.filter(live=True).order_by("name", "id").values_list("name", flat=True)
        end = names[LOOKED_AT : LOOKED_AT + 1].first()
    searched = matching if end is None else matching.filter(name__lt=end)
    rows = [
        *visible.filter(begins("name", text)).order_by("name", "id")[:_FOUND],
        *searched.order_by("name", "id")[:_FOUND],
    ]
    found = verified_rows(list({row.pk: row for row in rows}.values())[:_FOUND])
    return found, end is not None and len(found) < _FOUND


def _may_somewhere(actor: Principal, places: Sequence[Environment], *actions: Action) -> bool:
    return any(all(can_in_any_scope(actor, action, place) for action in actions) for place in places)


def _acts(may: Callable[..., bool], *, deleted: bool) -> list[dict[str, Any]]:
    offered = [
        {"name": act.name, "label": act.label, "destructive": act.name == "delete"}
        for act in BULK_ACTIONS.values()
        if act.on_deleted == deleted and may(*act.rights)
    ]
    if not deleted and may(Action.SECRET_EXPORT):
        offered.append({"name": EXPORT, "label": "Export…", "destructive": False})
    # What cannot be taken back by the next click comes last.
    return sorted(offered, key=lambda act: bool(act["destructive"]))
