from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit_app.actions import Action, Outcome
from audit_app.search import events
from audit_app.tests.trail import ALICE, STREAM, entries, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def found(**filters: Any) -> list[int]:
    return [event.sequence for event in events(viewer=ALICE, stream=STREAM, **filters)]


def test_it_finds_the_newest_first() -> None:
    write(3)
    assert found() == [3, 2, 1]


def test_it_filters_by_what_is_given() -> None:
    write(1)
    write(1, action=Action.SECRET_UPDATE, outcome=Outcome.DENIED)
    assert found(action=Action.SECRET_UPDATE) == [2]
    assert found(outcome=Outcome.ALLOWED) == [1]
    assert found(actor=ALICE.uuid, actor_name="alice") == [2, 1]
    assert found(actor=UUID(int=99)) == []
    assert found(object_name="app/db") == [2, 1]
    assert found(since=timezone.now() - timedelta(minutes=1)) == [2, 1]
    assert found(until=timezone.now() - timedelta(minutes=1)) == []


def test_a_read_of_many_is_found_by_each_of_them() -> None:
    read = entries(3)
    write(1, manifest=read)
    write(1)
    assert found(object_uuid=read[2].secret_uuid) == [1]
    assert found(object_name=read[0].name) == [1]


def test_nobody_reads_a_stream_that_the_policy_does_not_open(settings: Settings) -> None:
    settings.KEEPER_POLICY = "audit_app.tests.keyring.EnvironmentPolicy"
    write(1)
    write(1, stream="environment:b")
    assert {event.stream for event in events(viewer=ALICE)} == {STREAM}
    assert not events(viewer=ALICE, stream="environment:b").exists()
