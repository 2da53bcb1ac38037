"""What one request did to many objects is one line of the list of events, and no event is lost or told twice."""

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from audit_app.queries import lines
from audit_app.queries.lines import fill, fold

ACTOR = uuid4()


def event(pk: int, request: str = "", action: str = Action.SECRET_COPY, **fields: object) -> AuditEvent:
    given = {"actor_uuid": ACTOR, "outcome": Outcome.ALLOWED, "stream": "s", "object_kind": "secret"}
    return AuditEvent(id=pk, request_id=request, action=action, at=timezone.now(), **given | fields)


def words(listed: list[lines.Line]) -> list[tuple[int, int]]:
    return [(line.event.pk, line.count) for line in listed]


def test_a_copy_of_many_is_a_line_for_each_act() -> None:
    many = [
        event(100 - number, "r1", Action.SECRET_COPY if number % 2 else Action.SECRET_CREATE)
        for number in range(20)
    ]
    listed = fold([event(200, "r2"), *many, event(10), event(9)])
    assert words(listed) == [(200, 1), (100, 10), (99, 10), (10, 1), (9, 1)]
    assert listed[1].kinds == "secrets"


@pytest.mark.parametrize(
    "other",
    [
        {"request": "r2"},
        {"request": ""},
        {"request": "r1", "actor_uuid": uuid4()},
        {"request": "r1", "action": Action.SECRET_DELETE},
        {"request": "r1", "outcome": Outcome.DENIED},
        {"request": "r1", "stream": "elsewhere"},
        {"request": "r1", "object_kind": "token"},
    ],
    ids=["request", "none", "actor", "act", "outcome", "stream", "kind"],
)
def test_what_differs_is_a_line_of_its_own(other: dict[str, Any]) -> None:
    listed = fold([event(9, "r1"), event(8, "r1"), event(7, **other)])
    assert words(listed) == [(9, 1), (8, 1), (7, 1)]


def test_a_page_that_its_rows_fill_reads_no_more() -> None:
    rows = [event(number, f"r{number}") for number in range(50, 0, -1)]
    assert fill(rows, AuditEvent.objects.none(), limit=50) is None
