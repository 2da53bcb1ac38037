"""Who has seen a secret: everyone, however often others read it, as one pass over the events shows."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import READS, Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.queries import usage_index
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from core.canonical_json import parsed_details
from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.exposure import Viewer, readers_since, seen_by
from secrets_app.models import Secret
from secrets_app.services import read
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database

SignedIn = Callable[[User], Client]


def program(name: str) -> Actor:
    return Actor(kind=ActorKind.TOKEN, uuid=uuid4(), name=name)


def store(*drafts: EventDraft) -> None:
    with transaction.atomic():
        record_many(list(drafts))


def read_of(actor: Actor, secret: Secret, number: int = 1, **changed: Any) -> EventDraft:
    draft = EventDraft(
        actor=actor,
        action=Action.SECRET_REVEAL,
        stream=environment_stream(secret.environment.uuid),
        object=secret.audit_object,
        outcome=Outcome.ALLOWED,
        details={"number": number},
        manifest=None,
        covers=frozenset(),
    )
    return draft._replace(**changed)


def test_a_program_that_reads_all_day_hides_no_person(cast: Cast) -> None:
    secret = keep(cast)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    busy = program("busy")
    store(*[read_of(busy, secret)] * 620)

    found = seen_by(actor=cast.principal(cast.alice), secret=secret)
    since = readers_since(actor=cast.principal(cast.root), secret=secret, days=1)

    assert [(viewer.name, viewer.count) for viewer in found] == [("busy", 620), ("bob", 1)]
    assert since == found
    viewed = AuditEvent.objects.filter(action=Action.TRAIL_VIEW).latest("pk")
    assert (viewed.actor_name, parsed_details(viewed.details)["face"]) == ("root", "readers")


def test_who_read_it_earlier_than_asked_for_is_left_out(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = keep(cast)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    root, later = cast.principal(cast.root), timezone.now() + timedelta(days=3)
    monkeypatch.setattr("secrets_app.exposure.timezone", SimpleNamespace(now=lambda: later))
    found = {days: readers_since(actor=root, secret=secret, days=days) for days in (2, 4)}
    assert [len(found[2]), len(found[4])] == [0, 1]


def test_it_is_what_one_pass_over_the_events_shows(cast: Cast) -> None:
    random = Random(6)
    secret, other = keep(cast, "one"), keep(cast, "two")
    actors = [program(name) for name in "abc"] + [cast.principal(cast.bob), cast.principal(cast.erin)]
    drafts = []
    for _ in range(200):
        draft = read_of(
            random.choice(actors),
            random.choice([secret, secret, other]),
            random.randrange(1, 5),
            action=random.choice([*sorted(READS), Action.SECRET_VIEW]),
            outcome=random.choice([*[Outcome.ALLOWED] * 4, Outcome.DENIED]),
        )
        if random.random() < 0.4:
            items = [each.manifest_entry(random.randrange(1, 5)) for each in (secret, other)]
            environment = AuditObject("environment", secret.environment.uuid, "development")
            draft = draft._replace(
                object=environment, details={"count": 2}, manifest=items[random.randrange(2) :]
            )
        drafts.append(draft)
    store(*drafts)

    found = seen_by(actor=cast.principal(cast.root), secret=secret)

    shown = [(each.name, (each.kind, each.count, each.numbers, each.last_at)) for each in found]
    assert dict(shown) == _by_one_pass(secret)
    times = [each.last_at for each in found]
    assert times == sorted(times, reverse=True)


def _by_one_pass(secret: Secret) -> dict[str, tuple[str, int, set[int], object]]:
    seen: dict[str, tuple[str, int, set[int], object]] = {}
    for event in AuditEvent.objects.order_by("at"):
        if event.action not in READS - {Action.SECRET_COMPARE} or event.outcome != Outcome.ALLOWED:
            continue
        numbers = {parsed_details(event.details)["number"]} if event.object_uuid == secret.uuid else set()
        if event.manifest:
            numbers |= {item.number for item in event.manifest.items.filter(secret_uuid=secret.uuid)}
        if numbers:
            _, count, earlier, _ = seen.get(event.actor_name, ("", 0, set(), None))
            seen[event.actor_name] = (event.actor_kind, count + 1, earlier | numbers, event.at)
    return seen


def test_a_reader_who_was_renamed_is_one_reader_by_the_last_name(cast: Cast) -> None:
    secret, uuid = keep(cast), uuid4()
    for number, name in enumerate(("before", "after"), 1):
        store(read_of(Actor(kind=ActorKind.TOKEN, uuid=uuid, name=name), secret, number))
    (viewer,) = seen_by(actor=cast.principal(cast.alice), secret=secret)
    assert (viewer.name, viewer.count, viewer.numbers) == ("after", 2, {1, 2})


def test_it_costs_four_statements_however_many_readers_there_are(
    cast: Cast, django_assert_num_queries: Callable[[int], object]
) -> None:
    secret, alice = keep(cast), cast.principal(cast.alice)
    seen_by(actor=alice, secret=secret)
    for _ in range(2):
        store(*(read_of(program(f"p{number}"), secret) for number in range(60)))
        read.reveal_environment(actor=alice, environment=cast.development)
        usage_index.fill()
        # How far the counts are; single uses, lists with the secret, uses of these lists.
        with django_assert_num_queries(4):  # type: ignore[attr-defined]
            seen_by(actor=alice, secret=secret)


def test_who_reads_the_log_of_another_environment_alone_sees_no_reader(cast: Cast) -> None:
    secret = keep(cast)
    Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.MANAGER)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    assert [each.name for each in seen_by(actor=cast.principal(cast.alice), secret=secret)] == ["bob"]
    assert seen_by(actor=cast.principal(cast.charlie), secret=secret) == []


def test_details_that_were_edited_hide_no_reader(cast: Cast) -> None:
    secret = keep(cast)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_app_auditevent SET details = '{' WHERE action = 'secret.reveal'")
    (viewer,) = seen_by(actor=cast.principal(cast.alice), secret=secret)
    assert (viewer.name, viewer.versions) == ("bob", "")


def test_the_page_shows_all_readers_page_by_page(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    store(*(read_of(program(f"program-{number:02}"), secret) for number in range(60)))
    alice, shown = signed_in(cast.alice), []
    url = f"/secrets/{secret.pk}?viewers=0"
    while url:
        panel = alice.get(url, headers={"hx-request": "true"})
        assert panel.context["viewers_count"] == 60
        assert "60" in panel.content.decode()
        shown += [viewer.name for viewer in panel.context["viewers"]]
        url = panel.context["more_viewers_url"]
    assert sorted(shown) == [f"program-{number:02}" for number in range(60)]
    # Without scripts the page holds the same list.
    page = alice.get(f"/secrets/{secret.pk}?viewers=50")
    assert [each.name for each in page.context["viewers"]] == shown[50:]


def test_the_panel_is_for_those_who_may_read_the_audit_log(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    panel = signed_in(cast.bob).get(f"/secrets/{secret.pk}?viewers=0", headers={"hx-request": "true"})
    assert panel.context["viewers"] == []
    assert "bob" not in panel.content.decode()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [({7, 6, 5, 4, 2, 1}, "v7 to v4, v2, v1"), ({3}, "v3"), (set(), ""), (set(range(1, 41)), "v40 to v1")],
)
def test_the_versions_are_all_named(numbers: set[int], words: str) -> None:
    viewer = Viewer(name="x", kind="user", last_at=timezone.now(), numbers=numbers)
    assert viewer.versions == words
