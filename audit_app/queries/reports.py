"""Reports: sections that each app contributes, over what one viewer may see, of a span of time.

A section yields its rows one by one, so that a report of any size passes through in flat memory. No
section ever reads a value.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TypeAlias, cast

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from audit_app.events.actors import Actor
from audit_app.models import AuditEvent
from audit_app.queries import search

Cell: TypeAlias = str | int | bool | datetime | None
Row: TypeAlias = Sequence[Cell]

_EVENTS_PER_QUERY = 1_000


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Who looks, and at which time: `since` is inclusive, `until` exclusive.

    `as_of` is the time whose access is asked for, None for now.
    """

    viewer: Actor
    since: datetime
    until: datetime
    as_of: datetime | None = None

    def events(self, **conditions: object) -> Iterator[AuditEvent]:
        """Yield the events of the time that the viewer may read, oldest first."""
        found: QuerySet[AuditEvent] = search.events(viewer=self.viewer, since=self.since, until=self.until)
        # By time, whose index has the order: by id, each query would sort the time that is left.
        found = following = found.filter(**conditions).order_by("at", "id")
        while batch := list(following[:_EVENTS_PER_QUERY]):
            yield from batch
            last = batch[-1]
            following = found.filter(Q(at__gt=last.at) | Q(id__gt=last.pk), at__gte=last.at)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a report: `rows` yields as many cells as there are `columns`.

    `about` describes in a sentence what the rows include and exclude. Sections that are for the whole
    installation (`operators`) yield nothing to viewers of single environments.
    """

    key: str
    title: str
    about: str
    columns: tuple[str, ...]
    rows: Callable[[Scope], Iterator[Row]]
    operators: bool = False


@cache
def sections() -> dict[str, Section]:
    """Return every section by its key, in the order of settings.KEEPER_REPORT_SECTIONS."""
    found: dict[str, Section] = {}
    for path in settings.KEEPER_REPORT_SECTIONS:
        for section in cast("Sequence[Section]", import_string(path)):
            if section.key in found:
                raise ValueError(f"two sections of reports are called {section.key}")
            found[section.key] = section
    return found
