"""Which event says what a row was last: by its act, its outcome, its stream, and its place there."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_state import LISTING, latest_digests, names_rows
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject
from audit_app.tests.trail import sql, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
ONE, TWO = UUID(int=11), UUID(int=12)
_START = timezone.now()
GRANT, CHANGE = Action.MEMBER_GRANT, Action.MEMBER_CHANGE


def told(digest: str | None, *, uuid: UUID = ONE, **changed: Any) -> None:
    """Record what a row is."""
    given: dict[str, Any] = {
        "action": GRANT,
        "object": AuditObject("membership", uuid, "alice"),
        "details": {"rows": {str(uuid): digest}},
    }
    write(1, **given | changed)


def found(*actions: str, **options: Any) -> dict[str, str | None]:
    return {uuid: state.digest for uuid, state in latest_digests(actions or (GRANT,), **options).items()}


def at(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    moment = _START + timedelta(days=days)
    monkeypatch.setattr("django.utils.timezone.now", lambda: moment)


def test_the_last_of_the_asked_acts_that_was_allowed_says_it() -> None:
    told("a")
    told("b")
    for outcome in (Outcome.DENIED, Outcome.FAILED):
        told("refused", outcome=outcome)
    told("of another act", action=CHANGE)
    assert found() == {str(ONE): "b"}
    assert found(GRANT, CHANGE) == {str(ONE): "of another act"}
    told(None)
    assert found() == {str(ONE): None}


def test_only_events_about_the_asked_rows_count() -> None:
    told("one")
    told("two", uuid=TWO)
    # An event about one row that says something of another.
    told("aside", uuid=TWO, object=AuditObject("membership", ONE, "alice"))
    rows: Any = [SimpleNamespace(uuid=ONE)]
    assert found(rows=rows) == {str(ONE): "one", str(TWO): "aside"}
    assert found(rows=[]) == {}


def test_within_a_stream_the_sequence_decides_and_across_streams_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at(monkeypatch, 5)
    told("of a clock ahead")
    at(monkeypatch, -5)
    told("later in the stream")
    assert found() == {str(ONE): "later in the stream"}
    at(monkeypatch, -4)
    told("elsewhere", stream="environment:b")
    at(monkeypatch, -9)
    told("elsewhere and before", stream="environment:c")
    assert found()[str(ONE)] == "elsewhere"


def test_what_says_nothing_of_rows_hides_nothing() -> None:
    told("genuine")
    for details in ({"rows": [1]}, {"rows": None}, {"other": "x"}):
        told("", details=details)
    assert found() == {str(ONE): "genuine"}
    assert (names_rows('{"rows":{}}'), names_rows('{"row":{}}')) == (True, False)
    sql(
        "UPDATE audit_app_auditevent SET details = 'no JSON' WHERE id = %s",
        AuditEvent.objects.latest("id").pk,
    )
    assert found() == {str(ONE): "genuine"}


def listed(digest: str | None, uuid: UUID = ONE, **changed: Any) -> None:
    entry: Any = (str(uuid), 1, "app/db", *([] if digest is None else [digest, None]))
    given: dict[str, Any] = {"action": next(iter(sorted(LISTING))), "manifest": [entry]}
    write(1, **given | changed)


def test_what_was_created_along_with_others_is_read_from_their_list() -> None:
    listed("d" * 32)
    listed("x" * 32, outcome=Outcome.DENIED)
    listed("r" * 32, action=Action.SECRET_REVEAL)
    listed(None)
    listed("e" * 32, uuid=TWO)
    rows: Any = [SimpleNamespace(uuid=ONE)]
    assert found(*LISTING) == {str(ONE): "d" * 32, str(TWO): "e" * 32}
    assert found(*LISTING, rows=rows) == {str(ONE): "d" * 32}
    # Who does not ask for such acts does not read the lists.
    assert found(GRANT) == {}
