"""One record of the trail on a page: all that it says, for those who may read it, and whether it is genuine."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.test import Client

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.queries import access_log
from audit_app.recording.drafts import ManifestEntry
from audit_app.recording.recorder import record
from audit_app.tests.trail import SECRET, sql
from environments_app.models import Environment, Membership, Role, User
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]


def written(cast: Cast, environment: Environment, *, many: int = 0) -> AuditEvent:
    entries = [ManifestEntry(str(SECRET.uuid), number, f"app/<{number}>") for number in range(1, many + 1)]
    receipt = record(
        # A request of its own: the list shows one line for all that a request did.
        actor=replace(cast.principal(cast.bob), request_id=f"r{AuditEvent.objects.count()}"),
        action=Action.SECRET_EXPORT,
        stream=environment_stream(environment.uuid),
        object=SECRET,
        details={"reason": "<b>deploy</b>", "format": "json", "counts": {"TEXT": 2}},
        manifest=entries or None,
    )
    return AuditEvent.objects.get(stream=environment_stream(environment.uuid), sequence=receipt.sequence)


def test_it_tells_all_that_was_recorded(cast: Cast, signed_in: SignedIn) -> None:
    first = written(cast, cast.development)
    event = written(cast, cast.development, many=3)
    last = written(cast, cast.development)
    alice = signed_in(cast.alice)
    listed = alice.get("/activity").content.decode()
    assert f'href="/activity/{event.pk}"' in listed
    assert f"development {event.sequence}" in listed
    page = alice.get(f"/activity/{event.pk}")
    text = page.content.decode()
    for told in (
        "secret.export", "bob", "&lt;b&gt;deploy&lt;/b&gt;", "TEXT", '<span class="quiet">verified</span>', bytes(event.hash).hex(),
        "app/<wbr>&lt;3&gt;", "3 values", f"/activity/{first.pk}", f"/activity/{last.pk}", "development",
    ):  # fmt: skip
        assert told in text, told
    assert "was changed outside Keeper" not in text
    assert page["Cache-Control"] == alice.get("/activity")["Cache-Control"]


def test_it_says_that_somebody_changed_it(cast: Cast, signed_in: SignedIn) -> None:
    event = written(cast, cast.development)
    sql("UPDATE audit_app_auditevent SET actor_name = 'erin', details = 'NaN' WHERE id = %s", event.pk)
    text = signed_in(cast.alice).get(f"/activity/{event.pk}").content.decode()
    assert "was changed outside Keeper" in text
    assert '<span class="quiet">verified</span>' not in text


def test_it_says_that_somebody_changed_the_list_of_what_was_read(cast: Cast, signed_in: SignedIn) -> None:
    event = written(cast, cast.development, many=3)
    alice = signed_in(cast.alice)
    assert '<span class="quiet">verified</span>' in alice.get(f"/activity/{event.pk}").content.decode()
    sql("UPDATE audit_app_readmanifestitem SET name = 'app/other' WHERE name = %s", "app/<2>")
    text = alice.get(f"/activity/{event.pk}").content.decode()
    assert "was changed outside Keeper" in text
    assert '<span class="quiet">verified</span>' not in text


def test_whoever_may_not_read_it_finds_nothing_and_is_recorded(cast: Cast, signed_in: SignedIn) -> None:
    event = written(cast, cast.development)
    vera = signed_in(cast.vera)
    hidden, absent = vera.get(f"/activity/{event.pk}"), vera.get("/activity/987654")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert "app/db" not in hidden.content.decode()
    denied = AuditEvent.objects.filter(action=Action.TRAIL_VIEW, outcome=Outcome.DENIED)
    assert [(row.actor_name, f'"{event.pk}"' in row.details) for row in denied] == [("vera", True)]


def test_what_a_manager_of_another_place_may_not_read_is_no_view_of_theirs(
    cast: Cast, signed_in: SignedIn
) -> None:
    Membership.objects.create(user=cast.charlie, environment=cast.development, role=Role.MANAGER)
    event = written(cast, cast.production)
    charlie = signed_in(cast.charlie)
    hidden, absent = charlie.get(f"/activity/{event.pk}"), charlie.get("/activity/987654")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    views = AuditEvent.objects.filter(action=Action.TRAIL_VIEW)
    assert [(view.outcome, f'"{event.pk}"' in view.details) for view in views] == [(Outcome.DENIED, True)]


def test_a_look_that_could_not_be_recorded_shows_nothing_and_the_next_one_is_recorded(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = written(cast, cast.development)
    alice = signed_in(cast.alice)
    alice.raise_request_exception = False
    addresses = [f"/activity/{event.pk}", "/activity", "/api/events"]
    with monkeypatch.context() as away:
        away.setattr(access_log, "commit_record", Mock(side_effect=OperationalError))
        assert [alice.get(address).status_code for address in addresses] == [503, 503, 503]
    assert [alice.get(address).status_code for address in addresses] == [200, 200, 200]
    assert AuditEvent.objects.filter(action=Action.TRAIL_VIEW).count() == len(addresses)


def test_looking_at_a_record_is_recorded(cast: Cast, signed_in: SignedIn) -> None:
    event = written(cast, cast.development)
    signed_in(cast.alice).get(f"/activity/{event.pk}")
    viewed = AuditEvent.objects.get(action=Action.TRAIL_VIEW)
    assert (viewed.actor_name, viewed.outcome) == ("alice", Outcome.ALLOWED)
    assert f'"event":"{event.pk}"' in viewed.details
