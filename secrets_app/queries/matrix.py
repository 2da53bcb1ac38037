"""Names across environments: a page of names, and where each of them exists."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import QuerySet

from audit_app.integrity.row_authentication import verified_rows
from secrets_app.models import Secret

NAMES_SHOWN: Final = 50


@dataclass(frozen=True, kw_only=True)
class NamePage:
    """Names in order, and whether there are more on either side."""

    names: Sequence[str]
    has_previous: bool
    has_next: bool


def page_of_names(secrets: QuerySet[Secret], *, after: str = "", before: str = "") -> NamePage:
    """Return 50 distinct names of these secrets after (or before) a name, in one statement."""
    names = secrets.select_related(None).order_by().values_list("name", flat=True).distinct()
    if before:
        found = list(names.filter(name__lt=before).order_by("-name")[: NAMES_SHOWN + 1])
        shown = found[:NAMES_SHOWN][::-1]
        return NamePage(names=shown, has_previous=len(found) > NAMES_SHOWN, has_next=True)
    if after:
        names = names.filter(name__gt=after)
    found = list(names.order_by("name")[: NAMES_SHOWN + 1])
    return NamePage(names=found[:NAMES_SHOWN], has_previous=bool(after), has_next=len(found) > NAMES_SHOWN)


def secrets_by_name(secrets: QuerySet[Secret], names: Collection[str]) -> dict[str, dict[int, Secret]]:
    """Return name → environment id → secret, in one statement; unverified rows are left out."""
    found: dict[str, dict[int, Secret]] = {name: {} for name in names}
    for secret in verified_rows(secrets.filter(name__in=names)):
        found[secret.name][secret.environment_id] = secret
    return found
