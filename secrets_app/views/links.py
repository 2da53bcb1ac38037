"""Addresses of the list of secrets: views, orders, folders and pages of the same filters.

The tree of folders shows the open branch and the folders beside it.
"""

from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from core.pagination import KeysetPagination
from core.parsing import whole_number
from secrets_app.models import Secret
from secrets_app.queries.browsing import folders_in

_VIEWS: Final = (("", "List", "list"), ("folders", "Folders", "folder"), ("matrix", "Matrix", "table"))
# Column → the orders that its head switches between.
_HEADS: Final = {
    "name": ("name", "-name"),
    "expires": ("expires", "-expires"),
    "updated": ("-updated", "updated"),
}
_PLACE: Final = ("cursor", "first", "after", "before")
_LARGEST: Final = 10**9


def list_url(request: HttpRequest, **changed: str) -> str:
    """Return the address of the list with these filters changed, from its first page on."""
    filters = {name: value for name, value in request.GET.items() if value and name not in _PLACE} | changed
    matrix = filters.get("view") == "matrix"
    left_out = {"view", "environment", "deleted", "starred", "recent", "ordering"} if matrix else set()
    query = urlencode({name: value for name, value in filters.items() if value and name not in left_out})
    url = reverse("secret-matrix") if matrix else reverse("secret-list")
    return f"{url}?{query}" if query else url


def view_links(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the views of the list: rows, folders, matrix, the starred, the recent, the trash."""
    deleted, view = request.GET.get("deleted", ""), request.GET.get("view", "")
    own = request.GET.get("starred", "") or request.GET.get("recent", "")
    view = "matrix" if request.path == reverse("secret-matrix") else view
    links = [
        {
            "label": label,
            "icon": icon,
            "url": list_url(request, view=name, deleted="", starred="", recent=""),
            "current": not (deleted or own) and view == name,
        }
        for name, label, icon in _VIEWS
    ]
    stars = {"label": "Starred", "icon": "star", "current": bool(request.GET.get("starred"))}
    stars["url"] = list_url(request, view="", deleted="", starred="on", recent="")
    recent = {"label": "Recent", "icon": "clock", "current": bool(request.GET.get("recent"))}
    recent["url"] = list_url(request, view="", deleted="", starred="", recent="on")
    trash = {"label": "Trash", "icon": "trash", "current": bool(deleted)}
    trash["url"] = list_url(request, view="", deleted="on", starred="", recent="")
    return [*links, stars, recent, trash]


def column_heads(request: HttpRequest) -> dict[str, dict[str, str]]:
    """Return for each column that sorts its next address and how it is sorted now (`aria-sort`)."""
    current = request.GET.get("ordering") or "name"
    heads = {}
    for column, (first, second) in _HEADS.items():
        order = second if current == first else first
        name = "" if order == "name" else order
        heads[column] = {"url": list_url(request, ordering=name), "sort": ""}
        if current in {first, second}:
            heads[column]["sort"] = "descending" if current.startswith("-") else "ascending"
    return heads


def folder_steps(request: HttpRequest, prefix: str) -> list[dict[str, str]]:
    parts = prefix.split("/") if prefix else []
    steps = [{"name": "All", "url": list_url(request, prefix="")}]
    for depth, part in enumerate(parts, 1):
        steps.append({"name": part, "url": list_url(request, prefix="/".join(parts[:depth]))})
    return steps


def page_links(
    request: HttpRequest, paginator: KeysetPagination, shown: int, *, total: int
) -> tuple[int | None, dict[str, str | None]]:
    """Return the number of the page's first row, None if it is not known, and the pages beside it.

    Pages are found by key, so the number travels along in the links, for display alone.
    """
    first = 1 if shown else None
    if request.GET.get("cursor"):
        number = whole_number(request.GET.get("first", ""), largest=_LARGEST)
        first = number if number and number <= total else None
    limit = whole_number(request.GET.get("limit", ""), largest=_LARGEST) or 50
    links = {
        "next_url": _numbered(paginator.get_next_link(), first and first + shown),
        "previous_url": _numbered(paginator.get_previous_link(), first and max(1, first - limit)),
    }
    return first, links


def _numbered(url: str | None, first: int | None) -> str | None:
    if url is None or first is None:
        return url
    before, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("first=")]
    return f"{before}?{'&'.join([*kept, f'first={first}'])}"


# One statement for each level: deeper branches show their last levels alone.
MAX_LEVELS: Final = 6


def folder_tree(request: HttpRequest, secrets: QuerySet[Secret], prefix: str) -> list[dict[str, Any]]:
    """Return the folders of all `secrets` in the order of the tree; children are in `prefix`."""
    parts = prefix.split("/") if prefix else []
    levels = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)][-MAX_LEVELS:]
    return _level(request, secrets, levels, depth=0)


def _level(
    request: HttpRequest, secrets: QuerySet[Secret], levels: list[str], *, depth: int
) -> list[dict[str, Any]]:
    prefix, deeper = levels[0], levels[1:]
    shown = []
    under = secrets.filter(name__gte=f"{prefix}/", name__lt=f"{prefix}0") if prefix else secrets
    for folder in folders_in(under, prefix):
        is_open = bool(deeper) and folder.path == deeper[0]
        shown.append(
            {
                "name": f"{folder.name}/",
                "count": folder.count,
                "url": list_url(request, prefix=folder.path),
                "depth": depth,
                "is_child": not deeper,
                "is_open": is_open,
                "is_current": folder.path == request.GET.get("prefix", "").removesuffix("/"),
            }
        )
        if is_open:
            shown += _level(request, secrets, deeper, depth=depth + 1)
    return shown
