"""What reads the audit log goes by its indexes or by the search table, beside 100,000 events."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Max
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit_app.checkpoints import schedule as checkpoints
from audit_app.events.actions import Action, Outcome
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_state import latest_digests
from audit_app.models import (
    AuditEvent,
    Installation,
    ReadManifest,
    ReadManifestItem,
    SearchEntry,
    StreamHead,
)
from audit_app.queries import search_index
from audit_app.queries.reports import SECTIONS, Scope
from audit_app.queries.search import events
from audit_app.retention import schedule as retention
from audit_app.verification.prune_records import newest_cut, newest_prune_records
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.models import User
from environments_app.operator_jobs import last_verification
from environments_app.tests.cast import Cast
from operations_app.backup.service import last_success
from secrets_app.exposure import known_to, seen_by
from secrets_app.models import Secret
from secrets_app.tests.kept import keep
from tests.database.query_plans import faults, watched
from tests.database.test_query_plans import fill, uuid_of

pytestmark = [pytest.mark.every_database, pytest.mark.django_db(transaction=True)]

GROWING: Final = {AuditEvent._meta.db_table, SearchEntry._meta.db_table}
READERS: Final = 40
EACH_DENIED: Final = 1_000
_READS_MANY: Final = "it shows all that there is"
EXEMPT: Final[dict[str, str]] = {
    "charts": "it counts the events of a month, once: the cache has them from then on",
    "dashboard": "it counts the events of a month, once: the cache has them from then on",
    "trail": "it counts the events of a day by the hour, once: the cache has them from then on",
    "what an account knows": _READS_MANY,
    "admin": "Django counts up to 10,000 rows of a list without filters",
    "file of an actor": "a file holds all that it names, up to 10,000 events",
}
Acts = Iterator[tuple[str, Callable[[], Any]]]


def stored(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def fill_trail(cast: Cast) -> Secret:
    """Store a month of reads of 2,000 secrets by READERS programs; one in EACH_DENIED is denied."""
    secret = keep(cast, "m/template")
    event = AuditEvent.objects.filter(object_uuid=secret.uuid).latest("id")
    manifest = ReadManifest.objects.create(digest="d" * 64, size=1)
    ReadManifestItem.objects.create(manifest=manifest, secret_uuid=secret.uuid, number=1, name=secret.name)
    begin, first = timezone.now() - timedelta(days=29), event.sequence + 1
    fill(
        event,
        uuid=uuid_of,
        sequence=lambda number: first + number,
        at=lambda number: stored(begin + timedelta(seconds=number * 25)),
        actor_kind=lambda _: "token",
        actor_uuid=lambda number: uuid_of(number % READERS),
        actor_name=lambda number: f"program-{number % READERS:02}",
        action=lambda _: "secret.reveal",
        object_uuid=lambda number: uuid_of(10**6 + number % 2_000),
        object_name=lambda number: f"m/{number % 2_000:04}",
        outcome=lambda number: "denied" if number % EACH_DENIED == 0 else "allowed",
        address=lambda number: f"192.0.2.{number % 200}",
        request_id=lambda number: f"{number:032x}",
        manifest_id=lambda number: manifest.pk if number % 5_000 == 1 else None,
    )
    newest = AuditEvent.objects.filter(stream=event.stream).aggregate(Max("sequence"))["sequence__max"]
    StreamHead.objects.filter(stream=event.stream).update(sequence=newest)
    search_index.fill()
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {', '.join(sorted(GROWING))}")
            cursor.fetchall()
    return secret


def pages(page: Client, api: Client) -> Acts:
    queries = {
        "all": "", "an environment": "environment=development", "an act": "action=secret.reveal",
        "an act that never was": "action=trail.prune", "reads": "action=reads", "denials": "outcome=denied",
        "failures, of which there are none": "outcome=failed", "what was allowed": "outcome=allowed",
        "an actor": "actor=program-07", "an address": "address=192.0.2.7",
        "an unknown address": "address=198.51.100.1", "a request": f"request_id={77:032x}",
        "an environment's denials": "environment=development&outcome=denied",
        "an actor's denials": "actor=program-07&outcome=denied",
    }  # fmt: skip
    month = (timezone.now() - timedelta(days=40)).date()
    queries["a time with nothing"] = f"since={month}&until={month}"
    for name, query in queries.items():
        yield f"page of {name}", lambda query=query: page.get(f"/activity?{query}")  # type: ignore[misc]
        times = query.replace(f"{month}", f"{month}T00:00:00Z")
        yield f"list of {name}", lambda query=times: api.get(f"/api/events?{query}")  # type: ignore[misc]
    for name, query in {
        "a period": "period=7d", "an environment's period": "environment=development&period=24h",
        "what Keeper does on the way": "system=on", "a group": "action=Access", "a group of many": "action=Secrets",
        "a group in an environment": "action=Access&environment=development",
        "a group of many in an environment": "action=Secrets&environment=development",
        "an act in an environment": "action=secret.reveal&environment=development",
        "an act that is rare in an environment": "action=target.apply&environment=development",
        "an act that is common elsewhere": "action=secret.reveal&environment=production",
    }.items():  # fmt: skip
        yield f"page of {name}", lambda query=query: page.get(f"/activity?{query}")  # type: ignore[misc]
    yield "file of an actor", lambda: page.get("/activity/export.json?actor=program-07")
    deep = api.get("/api/events?limit=50&actor=program-07").json()["next"]
    yield "deep list of an actor", lambda: api.get(deep)
    yield "dashboard", lambda: page.get("/")
    yield "charts", lambda: page.get("/activity/charts")
    yield "trail", lambda: page.get(reverse("admin-audit"))
    yield "admin", lambda: page.get("/admin/audit_app/auditevent/")


def sorted_searches(page: Client) -> Acts:
    """Yield what joins several indexes, and so sorts what it found before it cuts a page of it."""
    yield "page of an object", lambda: page.get("/activity?object=m/0077")
    yield "page of an object that is read along", lambda: page.get("/activity?object=m/template")
    yield "page of a text", lambda: page.get("/activity?q=m/007")
    yield "admin's denials", lambda: page.get("/admin/audit_app/auditevent/?outcome=denied")
    yield "admin's search", lambda: page.get("/admin/audit_app/auditevent/?q=m/0077")


def inner(cast: Cast, secret: Secret, user: User) -> Acts:
    scope = Scope(
        viewer=cast.principal(cast.root), since=timezone.now() - timedelta(hours=2), until=timezone.now()
    )
    for section in SECTIONS:
        yield f"report of {section.key}", lambda section=section: list(section.rows(scope))  # type: ignore[misc]
    viewer = cast.principal(cast.alice)
    yield "who has seen it", lambda: seen_by(actor=viewer, secret=secret)
    yield "history of a secret", lambda: list(events(viewer=viewer, object_uuid=secret.uuid)[:20])
    yield "what an account knows", lambda: known_to(user.uuid)
    yield "who could act as an account", lambda: CustodyGraph().behind(user.uuid, environment=None)
    yield "recorded rows", lambda: latest_digests([Action.SECRET_UPDATE], rows=[secret])
    yield "problems of checkpoints", checkpoints.problems
    yield "the active installation", is_active
    yield "cuts", newest_prune_records
    yield "cuts of a stream", lambda: newest_cut(AuditEvent.objects.latest("id").stream)
    yield "retention", retention.retention_status
    yield "last backup", last_success
    yield "last verification", lambda: last_verification(actor=cast.principal(cast.root))
    yield "how far the search is", search_index.behind


def test_nothing_scans_the_trail(
    cast: Cast, bearer: Callable[..., Client], signed_in: Callable[[Any], Client], settings: Any
) -> None:
    settings.KEEPER_AUDIT_RETENTION_DAYS = 90
    secret = fill_trail(cast)
    Installation.objects.all().delete()
    page, api = signed_in(cast.root), bearer("manager", cast.development)
    found: dict[str, str] = {}
    for acts in (pages(page, api), sorted_searches(page), inner(cast, secret, cast.alice)):
        for name, act in acts:
            search_index.fill()
            with watched() as statements:
                answer = act()
            assert getattr(answer, "status_code", 200) < 300, (name, answer.content)
            assert statements, name
            bad = faults(statements, GROWING)
            if name not in EXEMPT:
                found |= {f"{name}: {table}": text for table, text in bad.items()}
    assert not found, "\n\n".join(f"{name}\n{text}" for name, text in found.items())

    with watched() as statements:
        AuditEvent.objects.filter(outcome=Outcome.FAILED).exists()
        AuditEvent.objects.filter(request_id=uuid4().hex).exists()
    assert all(faults([statement], GROWING) for statement in statements)
