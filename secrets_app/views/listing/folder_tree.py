"""The tree of folders beside the list: the branch that is open, and the folders beside it."""

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest

from secrets_app.models import Secret
from secrets_app.queries.folders import folders_in
from secrets_app.views.listing.links import list_url

# One statement for each level: deeper branches show their last levels alone.
MAX_LEVELS: Final = 6


def folder_tree(request: HttpRequest, secrets: QuerySet[Secret], prefix: str) -> list[dict[str, Any]]:
    """Return the folders of the tree in its order, each with its depth; those of `prefix` are children.

    `secrets` are all that may be in the tree, not those under `prefix` alone.
    """
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
