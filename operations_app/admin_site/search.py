"""One search over what an operator may know: names, request IDs, network addresses and numbers.

Rows are found by how a name begins or by an exact identifier, and few of each kind are returned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst

from audit_app.interfaces import viewer_of
from audit_app.models import AuditEvent
from audit_app.queries import search, search_index
from audit_app.queries.access_log import record_view
from audit_app.queries.search import begins
from core.parsing import whole_number
from environments_app.models import Environment, ServiceToken, Session, User
from secrets_app.models import Secret
from sync_app.models import Rotation, Run, Target

SHOWN: Final = 8
LONGEST: Final = 200
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A found row: its name, what distinguishes it, and its page in the admin."""

    name: str
    note: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Hits:
    """The found rows of one kind; `url` is their list, where there may be more.

    `is_capped` if there may be others that were not looked at.
    """

    label: str
    rows: list[Hit]
    url: str
    is_capped: bool = False


def find(request: HttpRequest, text: str) -> list[Hits]:
    """Return what a text finds, by kind; at most SHOWN rows of each, and a constant number of statements."""
    text = text.strip()[:LONGEST]
    if not text:
        return []
    kinds = [_hits(rows, note, text) for rows, note in _kinds(text)]
    return [hits for hits in [*kinds, _events(request, text)] if hits.rows]


def _kinds(text: str) -> Iterator[tuple[QuerySet[Any], Callable[[Any], str]]]:
    number = whole_number(text, largest=_LARGEST)
    people = begins("username", text.lower()) | begins("email", text)
    yield User.objects.filter(people), lambda user: str(user.get_role_display())
    yield Environment.objects.filter(begins("name", text)), lambda environment: str(environment.display_name)
    deleted = Environment.every.filter(deleted_at__isnull=False)
    secrets = Secret.objects.filter(begins("name", text), live=True).exclude(environment__in=deleted)
    secrets = secrets.order_by("name", "id")
    # Joined with their environments MariaDB sorts all that begin so.
    yield secrets.prefetch_related("environment"), lambda secret: str(secret.environment)
    living = Q(environment__deleted_at__isnull=True)
    tokens = ServiceToken.objects.filter(living, begins("name", text) | Q(public_id=text))
    yield tokens.select_related("environment"), lambda token: str(token.environment or "installation")
    targets = Target.objects.filter(living, begins("name", text)).order_by("name")
    yield targets.select_related("environment"), lambda target: str(target.environment)
    runs = Run.objects.filter(pk=number) if number else Run.objects.none()
    yield runs.select_related("target"), lambda run: f"{run.target}, {run.state}"
    rotations = Rotation.objects.filter(pk=number) if number else Rotation.objects.none()
    yield rotations, lambda rotation: str(rotation.step)
    yield Session.objects.filter(address=text).select_related("user"), lambda session: str(session.address)


def _hits(rows: QuerySet[Any], note: Callable[[Any], str], text: str) -> Hits:
    hits = [
        Hit(
            name=str(row.user or "not signed in") if isinstance(row, Session) else str(row),
            note=note(row),
            url=_address(row, "change", row.pk),
        )
        for row in rows[:SHOWN]
    ]
    meta = rows.model._meta
    listed = f"{_address(rows.model, 'changelist')}?{urlencode({'q': text})}"
    return Hits(label=str(capfirst(meta.verbose_name_plural)), rows=hits, url=listed)


def _events(request: HttpRequest, text: str) -> Hits:
    """Return the events of a request, an address, an actor or an object; that they are read is recorded."""
    viewer = viewer_of(request)
    record_view(viewer=viewer, face="admin", filters={"q": text})
    search_index.catch_up()
    events, is_capped = search.newest_beginning(viewer=viewer, text=text, most=SHOWN)
    rows = [
        Hit(
            name=f"{event.actor_name or 'unknown'}: {event.object_name or event.object_kind}",
            note=f"{event.action}, {event.at:%Y-%m-%d %H:%M:%S} UTC",
            url=_address(event, "change", event.pk),
        )
        for event in events
    ]
    listed = f"{_address(AuditEvent, 'changelist')}?{urlencode({'q': text})}"
    return Hits(label="Audit events", rows=rows, url=listed, is_capped=is_capped)


def _address(row: Model | type[Model], page: str, *arguments: object) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=arguments)
