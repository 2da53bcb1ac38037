"""The pages of long lists: what the deepest costs against the first, in CPU time and in SQL statements.

Measured in Keeper's own process with Django's client: how long a page takes on the wire says more of what
else the machine does.
"""

import html
import re
import statistics
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Figure, Row, Target

TARGET = Target(1.2, 1.0, at_most=True)
ENVIRONMENT = "production"
# Each with the column that a place in its order is told by.
PAGES = {
    "/secrets": "name",
    "/secrets?ordering=-updated": "updated_at",
    "/secrets?ordering=rotation_due": "rotation_due_at",
    "/secrets?environment=production": "name",
    "/activity": "id",
    "/activity?environment=production": "id",
    "/activity?action=secret.reveal": "id",
    "/activity?environment=production&action=secret.reveal": "id",
}
# Pages with few rows or none among as many of others: a page of these is its own last one.
_SPARSE = (
    "/activity?environment=staging&action=secret.reveal",
    "/activity?environment=production&action=target.apply",
    "/activity?environment=production&action=Access",
    "/activity?environment=production&outcome=denied",
    "/activity?environment=production&mine=on",
)
REPEATS = 9
_ROWS = 20_000
# Beyond what the events of Keeper itself reach.
_FIRST = 10_000_000
# Events for each secret.
_EVENTS_EACH = 10
# So many rows stand behind the place at which the deepest page begins.
_LEFT = 60


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Compare the pages on each database."""
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.keeper(database)
        secrets, events = scale.listed, scale.listed * _EVENTS_EACH
        found = keeper.inside("pages", str(secrets), str(events))
        dashboard = found.pop("/")
        sparse = {page: found.pop(page) for page in _SPARSE}
        for page, figures in found.items():
            rows.append(
                Comparison(
                    work=f"deepest page of {page}, {secrets:,} secrets, {events:,} events",
                    database=database,
                    unit="ms of CPU",
                    keeper=figures["deep"],
                    other="its first page",
                    other_figures=figures["first"],
                    target=TARGET,
                )
            )
            statements = figures["statements"]
            rows.append(
                Figure(
                    f"SQL statements of that page of {page}", database, statements[1], maximum=statements[0]
                )
            )
        rows.append(
            Figure("the dashboard over these, ms of CPU", database, statistics.median(dashboard["first"]))
        )
        rows.append(Figure("the dashboard's SQL statements", database, dashboard["statements"][0]))
        for page, figures in sparse.items():
            rows.append(Figure(f"{page}, ms of CPU", database, statistics.median(figures["first"])))
            rows.append(Figure("its SQL statements", database, figures["statements"][0]))
    return rows


def measure(secrets: int, events: int) -> dict[str, dict[str, list[float]]]:
    """Fill the database and return what each page costs, in Keeper's own process."""
    from benchmarks.lists.long_list import insert_names

    insert_names(ENVIRONMENT, secrets)
    insert_events(events)
    client = signed_in()
    found = {}
    for page, column in PAGES.items():
        deep = _deepest(client, page, column)
        found[page] = cost_of(client, page, deep)
    return found | {page: cost_of(client, page, page) for page in ("/", *_SPARSE)}


def cost_of(client: Any, first: str, deep: str) -> dict[str, list[float]]:
    """Return the milliseconds of CPU of two pages, and the statements of each."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times: dict[str, list[float]] = {first: [], deep: []}
    statements = []
    for path in (first, deep):
        client.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200, path
        statements.append(float(len(captured)))
    for _ in range(REPEATS):
        for path, found in times.items():
            started = time.process_time()
            client.get(path)
            found.append((time.process_time() - started) * 1000)
    return {"first": times[first], "deep": times[deep], "statements": statements}


def signed_in() -> Any:
    """Return a browser of the administrator."""
    from django.test import Client

    from environments_app.models import User

    client = Client(headers={"host": "localhost"})
    client.defaults["wsgi.url_scheme"] = "https"
    client.force_login(
        User.objects.filter(role="admin").order_by("pk")[0],
        backend="environments_app.users.password_backend.LocalBackend",
    )
    return client


def _deepest(client: Any, page: str, column: str) -> str:
    """Return the address of a page near the end: the link to the second page, with another place in it."""
    link = re.search(r'rel="next" href="([^"]+)"', client.get(page).content.decode())
    assert link, f"{page} has one page alone"
    cursor = parse_qs(urlsplit(html.unescape(link[1])).query)["cursor"][0]
    content = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    row = _row_near_the_end(page)
    value = getattr(row, column)
    content[1:3] = [value.isoformat() if hasattr(value, "isoformat") else value, row.pk]
    text = urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")
    return f"{page}{'&' if '?' in page else '?'}cursor={text}"


def _row_near_the_end(page: str) -> Any:
    from django.db.models import F

    from audit_app.models import AuditEvent
    from secrets_app.models import Secret

    if page.startswith("/activity"):
        return AuditEvent.objects.filter(stream__startswith="environment").order_by("id")[_LEFT]
    secrets = Secret.objects.filter(live=True, environment__name=ENVIRONMENT)
    if "rotation_due" in page:
        return secrets.order_by(F("rotation_due_at").desc(nulls_first=True), "-pk")[_LEFT]
    return (
        secrets.order_by("updated_at", "pk")[_LEFT] if "updated" in page else secrets.order_by("-name")[_LEFT]
    )


def insert_events(count: int) -> None:
    """Insert what is missing to so many reads of a month, without their chain, which no list asks for."""
    from datetime import timedelta
    from uuid import UUID, uuid4

    from django.utils import timezone

    from audit_app.events.streams import environment_stream
    from audit_app.models import AuditEvent
    from environments_app.models import Environment

    stream = environment_stream(Environment.objects.get(name=ENVIRONMENT).uuid)
    begin, step = timezone.now() - timedelta(days=29), timedelta(days=29) / count
    there = AuditEvent.objects.filter(stream=stream, sequence__gte=_FIRST).count()
    for start in range(there, count, _ROWS):
        AuditEvent.objects.bulk_create(
            [
                AuditEvent(
                    stream=stream,
                    sequence=_FIRST + number,
                    at=begin + number * step,
                    actor_kind="token",
                    actor_uuid=UUID(int=number % 7),
                    actor_name=f"program-{number % 7}",
                    action="secret.reveal",
                    object_kind="secret",
                    object_uuid=uuid4(),
                    object_name=f"team-{number % 97:02}/key-{number % 5_000:06}",
                    outcome="allowed",
                    address="10.0.0.1",
                    request_id=f"{number:032x}",
                    details="{}",
                    previous_hash=b"p" * 32,
                    hash=b"h" * 32,
                    mac=b"m" * 32,
                )
                for number in range(start, min(count, start + _ROWS))
            ],
            batch_size=2_000,
        )
