"""The list of events: what it hides until it is asked for, its groups of events, and its files."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.api import EventQuery
from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent, SavedView
from audit_app.queries import event_export
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.tests.trail import SECRET
from environments_app.models import Environment, Membership, Role, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]


def written(
    cast: Cast,
    action: Action,
    *,
    outcome: Outcome = Outcome.ALLOWED,
    name: str = "app/db",
    by: User | None = None,
    where: Environment | None = None,
    request: str = "test",
) -> None:
    record(
        actor=replace(cast.principal(by or cast.bob), request_id=request),
        action=action,
        stream=environment_stream((where or cast.development).uuid),
        object=AuditObject(SECRET.kind, SECRET.uuid, name),
        outcome=outcome,
    )


def page_of(name: str) -> str:
    return f"/activity/{AuditEvent.objects.get(object_name=name).pk}"


def listed(client: Client, query: str = "") -> list[str]:
    return [line.event.action for line, _, _ in client.get(f"/activity?{query}").context["events"]]


def test_what_keeper_does_on_the_way_is_hidden_unless_it_failed(cast: Cast, signed_in: SignedIn) -> None:
    written(cast, Action.SECRET_REVEAL)
    written(cast, Action.TARGET_CONNECT)
    written(cast, Action.TARGET_CONNECT, outcome=Outcome.FAILED)
    alice = signed_in(cast.alice)
    assert listed(alice, "environment=development").count("target.connect") == 1
    assert listed(alice, "environment=development&system=on").count("target.connect") == 2
    assert listed(alice, "action=target.connect") == ["target.connect"] * 2


def test_a_group_of_events_is_found_by_its_heading(cast: Cast, signed_in: SignedIn) -> None:
    written(cast, Action.SECRET_REVEAL)
    written(cast, Action.TARGET_APPLY)
    alice = signed_in(cast.alice)
    assert listed(alice, "action=Sync") == ["target.apply"]
    assert set(listed(alice, "action=Secrets")) == {"secret.reveal"}


def test_a_period_ends_now(cast: Cast, signed_in: SignedIn) -> None:
    written(cast, Action.SECRET_REVEAL)
    alice = signed_in(cast.alice)
    assert "secret.reveal" in listed(alice, "period=24h")
    assert "secret.reveal" in listed(alice, "period=none")


@pytest.mark.parametrize("form", sorted(event_export.FORMATS))
def test_what_is_shown_is_exported_and_recorded(cast: Cast, signed_in: SignedIn, form: str) -> None:
    written(cast, Action.SECRET_REVEAL, name="=cmd")
    written(cast, Action.TARGET_APPLY)
    alice = signed_in(cast.alice)
    answer = alice.get(f"/activity/export.{form}?action=secret.reveal&actor=bob")
    rows = (
        orjson.loads(answer.content)
        if form == "json"
        else list(csv.DictReader(io.StringIO(answer.content.decode())))
    )
    assert [(row["actor"], row["action"]) for row in rows] == [("bob", "secret.reveal")]
    assert rows[0]["object"] == ("=cmd" if form == "json" else "'=cmd")
    taken = AuditEvent.objects.filter(action=Action.TRAIL_EXPORT).latest("id")
    details = orjson.loads(taken.details)
    assert (taken.actor_name, details["format"]) == ("alice", form)
    # What was typed is not repeated.
    assert details["filters"] == {"action": "secret.reveal", "actor_name": "typed"}


def test_people_see_their_own_events_and_no_others(cast: Cast, signed_in: SignedIn) -> None:
    written(cast, Action.SECRET_REVEAL, name="of-bob")
    written(cast, Action.SECRET_REVEAL, name="of-charlie", by=cast.charlie)
    charlie = signed_in(cast.charlie)
    exported = orjson.loads(charlie.get("/activity/export.json").content)
    assert {event["actor"] for event in exported} == {"charlie"}
    assert "of-charlie" in {event["object"] for event in exported}
    for filters in ("", "q=of-", "actor=bob", "object=of-bob", "environment=development", "outcome=allowed"):
        page = charlie.get(f"/activity?{filters}")
        assert page.status_code == 200
        assert {line.event.actor_name for line, _, _ in page.context["events"]} <= {"charlie"}, filters
    assert charlie.get(page_of("of-charlie")).status_code == 200
    assert charlie.get(page_of("of-bob")).status_code == 404
    assert signed_in(cast.alice).get("/activity/export.exe").status_code == 404


def test_a_manager_sees_their_own_events_elsewhere_on_request(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    written(cast, Action.SECRET_REVEAL, name="elsewhere", by=cast.charlie, where=cast.production)
    written(cast, Action.SECRET_REVEAL, name="of-bob", where=cast.production)
    charlie = signed_in(cast.charlie)
    assert "elsewhere" not in [
        line.event.object_name for line, _, _ in charlie.get("/activity").context["events"]
    ]
    mine = charlie.get("/activity?mine=on").context["events"]
    assert {line.event.actor_name for line, _, _ in mine} == {"charlie"}
    assert "elsewhere" in [line.event.object_name for line, _, _ in mine]
    assert charlie.get(page_of("elsewhere")).status_code == 200
    assert charlie.get(page_of("of-bob")).status_code == 404


def test_a_token_that_may_read_nothing_sees_nothing(cast: Cast) -> None:
    _, token = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="deploy"
    )
    answer = Client().get("/api/events", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code in {200, 403}
    assert answer.status_code == 403 or answer.json()["results"] == []


def test_the_api_filters_by_each_query_that_it_declares(cast: Cast, signed_in: SignedIn) -> None:
    root = signed_in(cast.root)
    written(cast, Action.SECRET_REVEAL, name="app/db")
    unlike = {
        "action": "backup.verify", "outcome": "failed", "actor": "nobody", "object": "nothing",
        "object_uuid": str(UUID(int=4711)), "stream": "no-stream", "since": "2999-01-01T00:00:00Z",
        "until": "2001-01-01T00:00:00Z", "environment": "nowhere", "address": "203.0.113.99",
        "request_id": "no-request", "q": "nothing-begins-so",
    }  # fmt: skip
    assert unlike.keys() == EventQuery().fields.keys()
    assert root.get("/api/events").json()["results"]
    for name, value in unlike.items():
        assert root.get("/api/events", {name: value}).json()["results"] == [], name


def test_an_export_is_bounded_and_its_statements_do_not_grow(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = signed_in(cast.alice)
    alice.get("/activity/export.csv")
    counts = []
    for _ in range(2):
        for _ in range(5):
            written(cast, Action.SECRET_REVEAL)
        with CaptureQueriesContext(connection) as asked:
            alice.get("/activity/export.csv")
        counts.append(len(asked))
    assert counts[0] == counts[1]
    monkeypatch.setattr(event_export, "LIMIT", 3)
    assert len(orjson.loads(alice.get("/activity/export.json").content)) == 3


def test_filters_are_saved_shared_and_deleted(cast: Cast, signed_in: SignedIn) -> None:
    alice, vera, root = (signed_in(user) for user in (cast.alice, cast.vera, cast.root))
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    charlie = signed_in(cast.charlie)
    here = {"query": "environment=development&action=secret.reveal&cursor=x&evil=1", "name": "Reveals"}
    alice.post("/activity/views/save", here | {"shared": "on"})
    alice.post("/activity/views/save", {"query": "period=7d&q=", "name": "Week", "shared": "on"})
    alice.post("/activity/views/save", {"query": "period=30d", "name": "Mine"})

    def names(client: Client) -> list[str]:
        return [view.name for view in client.get("/activity").context["views"]]

    assert names(alice) == ["Mine", "Reveals", "Week"]
    # A view of an environment for who reads its events, one of none for who reads all.
    assert (names(charlie), names(vera), names(root)) == (["Reveals"], [], ["Reveals", "Week"])
    view = SavedView.objects.get(name="Reveals")
    assert view.query == "environment=development&action=secret.reveal"
    charlie.post(f"/activity/views/{view.pk}/remove")
    assert SavedView.objects.filter(pk=view.pk).exists()
    # A second one of the name replaces the first.
    alice.post("/activity/views/save", {"query": "period=24h", "name": "Reveals"})
    assert (SavedView.objects.get(name="Reveals").query, names(charlie)) == ("period=24h", [])
    alice.post(f"/activity/views/{view.pk}/remove")
    assert names(alice) == ["Mine", "Week"]
    refused = {"name": ("", "period=7d"), "filter": ("Empty", "evil=1")}
    for word, (name, query) in refused.items():
        page = alice.post("/activity/views/save", {"name": name, "query": query}, follow=True)
        assert word in page.content.decode()
    assert SavedView.objects.count() == 2


@pytest.mark.parametrize("many", [30, 300])
def test_a_copy_of_many_takes_no_page_and_no_event_is_lost(
    cast: Cast, signed_in: SignedIn, many: int
) -> None:
    for number in range(60):
        written(cast, Action.SECRET_REVEAL, name=f"before/{number}", request=f"before-{number}")
    for number in range(many):
        written(cast, Action.SECRET_COPY, name=f"app/{number}", request="bulk")
        written(cast, Action.SECRET_CREATE, name=f"app/{number}", request="bulk")
    written(cast, Action.SECRET_REVEAL, name="after", request="after")
    alice = signed_in(cast.alice)
    total = AuditEvent.objects.filter(stream=environment_stream(cast.development.uuid)).count()
    path: str | None = "/activity?environment=development&system=on"
    pages: list[list[tuple[str, int]]] = []
    while path:
        context = alice.get(path).context
        pages.append([(line.event.object_name, line.count) for line, _, _ in context["events"]])
        path = context["next_url"]
    assert sum(count for page in pages for _, count in page) == total
    assert len(pages) == 2
    assert pages[0][:3] == [("after", 1), (f"app/{many - 1}", many), (f"app/{many - 1}", many)]
    # The events before it are on the same page.
    assert ("before/59", 1) in pages[0]


def test_a_line_leads_to_its_events_and_days_have_headings(cast: Cast, signed_in: SignedIn) -> None:
    for number in range(3):
        written(cast, Action.SECRET_COPY, name=f"app/{number}", request="bulk")
    alice = signed_in(cast.alice)
    page = alice.get("/activity?environment=development").content.decode()
    assert "Today</th>" in page
    assert '<a href="?request_id=bulk&amp;action=secret.copy"><b>3</b> secrets</a>' in page
    assert listed(alice, "request_id=bulk&action=secret.copy") == ["secret.copy"] * 3
