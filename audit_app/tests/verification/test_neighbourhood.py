"""One event between its neighbours in the chain, sound and tampered with."""

from datetime import timedelta

import pytest

from audit_app.crypto.checkpoint_statement import Head
from audit_app.models import AuditEvent
from audit_app.tests.trail import STREAM, sql, take_away, write
from audit_app.verification import stream_verifier as module
from audit_app.verification.stream_verifier import Neighbour, neighbourhood

pytestmark = pytest.mark.django_db


def _around(number: int) -> dict[int, Neighbour]:
    event = AuditEvent.objects.get(stream=STREAM, sequence=number)
    return {each.event.sequence: each for each in neighbourhood(event)}


def test_sound_events_verify_up_to_both_ends() -> None:
    write(5)
    for number in (1, 3, 5):
        found = _around(number)
        assert list(found) == [n for n in range(number - 2, number + 3) if 1 <= n <= 5]
        assert {(each.mac_ok, each.link_ok, each.problem) for each in found.values()} == {(True, True, "")}


def test_an_edited_event_has_neither_content_nor_mac() -> None:
    write(5)
    sql("UPDATE audit_app_auditevent SET object_name = 'other' WHERE stream = %s AND sequence = 3", STREAM)
    found = _around(3)
    assert (found[3].mac_ok, found[3].link_ok) == (False, True)
    assert found[3].problem
    assert [each.problem for number, each in found.items() if number != 3] == [""] * 4


def test_an_event_with_a_forged_mac_is_named() -> None:
    write(3)
    AuditEvent._base_manager.filter(stream=STREAM, sequence=2).update(mac=b"x" * 48)
    assert "key" in _around(2)[2].problem


def test_the_link_to_another_history_is_not_valid() -> None:
    write(3)
    AuditEvent._base_manager.filter(stream=STREAM, sequence=2).update(hash=b"y" * 32)
    found = _around(3)
    assert (found[3].mac_ok, found[3].link_ok) == (True, False)


def test_a_missing_event_breaks_the_link_of_the_next_one() -> None:
    write(4)
    take_away(AuditEvent._base_manager.filter(stream=STREAM, sequence=2))
    found = _around(3)
    assert list(found) == [1, 3, 4]
    assert (found[3].link_ok, found[3].problem) == (False, "the event before it is missing")


def test_below_a_cut_the_mac_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    write(5)
    events = AuditEvent._base_manager.filter(stream=STREAM)
    head = Head(3, bytes(events.get(sequence=3).hash))
    monkeypatch.setattr(module, "beginning", lambda _stream: head)
    take_away(events.filter(sequence__in=[1, 3]))
    found = _around(2)
    assert (found[2].mac_ok, found[2].link_ok, found[2].problem) == (True, None, "")
    assert (found[4].link_ok, found[4].problem) == (True, "")
    events.filter(sequence=2).update(at=events.get(sequence=2).at + timedelta(days=1))
    assert _around(4)[2].problem
