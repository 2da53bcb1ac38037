"""Events leave for other systems: each one, in the order of its stream, whatever fails meanwhile."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from audit_app.checkpoints.schedule import problems
from audit_app.models import SinkState
from audit_app.sinks import delivery
from audit_app.sinks import delivery as event_stream
from audit_app.tasks import stream_events
from audit_app.tests.trail import STREAM, sql, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


class Alerts:
    open: dict[str, str] = {}

    def raised(self, *, kind: str, subject: str, lines: list[str]) -> None:
        self.open[kind] = subject

    def over(self, *, kind: str, subject: str) -> None:
        self.open.pop(kind, None)


@pytest.fixture(autouse=True)
def siem(settings: Settings, tmp_path: Path) -> Path:
    """Let events go to a folder from now on, and return it."""
    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path}"]
    settings.KEEPER_AUDIT_ALERTS = f"{__name__}.Alerts"
    Alerts.open.clear()
    write(2)
    stream_events()
    return tmp_path


def sent(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("events-*") for line in file.read_text().splitlines()]


def places(folder: Path) -> list[tuple[str, int]]:
    return [(event["stream"], event["sequence"]) for event in sent(folder)]


def test_a_new_sink_begins_with_what_happens_from_now_on(siem: Path) -> None:
    assert sent(siem) == []
    write(1, details={"n": 1})
    write(1, stream="environment:b")
    stream_events()
    # A stream that is opened later goes out from its first event.
    assert places(siem) == [(STREAM, 3), ("environment:b", 1), ("system", 2)]
    event = sent(siem)[0]
    assert (event["actor"]["name"], event["action"], event["details"]) == ("alice", "secret.reveal", {"n": 1})
    stream_events()
    assert len(sent(siem)) == 3


def test_an_event_whose_id_comes_late_is_not_left_out(siem: Path) -> None:
    """Ids are given before the commit: the lower one of two may be seen later."""
    write(1)
    stream_events()
    write(1, stream="environment:b")
    sql("UPDATE audit_app_auditevent SET id = -1 WHERE stream = 'environment:b'")
    stream_events()
    assert ("environment:b", 1) in places(siem)


def test_what_a_crash_leaves_unsaid_comes_again(siem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_app.sinks.base.Sink.most_lines", 2)
    write(5)
    with monkeypatch.context() as patched:
        patched.setattr(event_stream, "taken", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stream_events.run()
    # The worker is gone with its lease: another takes over when that has passed.
    stream_events()
    assert len(sent(siem)) == 2
    SinkState.objects.update(leased_until=None)
    stream_events()
    assert [sequence for _, sequence in places(siem)] == [3, 4, 3, 4, 5, 6, 7]


def test_a_sink_that_is_down_delays_nobody_and_loses_nothing(siem: Path, settings: Settings) -> None:
    down = siem / "down"
    down.write_text("no folder")
    settings.KEEPER_EVENT_SINKS = [f"file:{down}", f"file:{siem}"]
    stream_events()
    for _ in range(3):
        write(1)
        delivery.deliver_events(at_once=True)
    assert len(sent(siem)) == 3
    assert problems() == ["1 of the sinks of the audit log do not take what they are given"]
    assert len(Alerts.open) == 1
    down.unlink()
    delivery.deliver_events(at_once=True)
    assert len(sent(down)) == 3
    assert (problems(), Alerts.open) == ([], {})


def test_a_sink_that_lags_is_told(siem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_app.checkpoints.schedule._MOST_EVENTS_BEHIND", 2)
    write(3)
    assert problems() == ["the sinks of events are 3 events behind"]
    stream_events()
    assert problems() == []
