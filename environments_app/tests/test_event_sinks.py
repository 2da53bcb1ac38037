"""Sinks of events: who adds them, what is refused, what a test and a skip do, and what happens meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import SinkDown
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent, SinkState, StreamCursor
from audit_app.sinks import delivery
from audit_app.sinks.registry import event_sinks
from audit_app.tests.sinks.receivers import TOKEN, Splunk, collector
from environments_app import event_sinks as use_cases
from environments_app.authorization.policy import Principal
from environments_app.errors import ConfirmationNeeded, Conflict, Forbidden, InvalidField, NameInUse, Tampered
from environments_app.models import EventSink
from environments_app.tests.cast import Cast
from tests.servers.certificates import write_certificates

pytestmark = pytest.mark.django_db
HEC = "hec://splunk.example:8088?index=keeper&ack=1"


@pytest.fixture
def root(cast: Cast) -> Principal:
    return cast.principal(cast.root).proven()


def add(root: Principal, **fields: str) -> EventSink:
    return use_cases.create_sink(actor=root, **{"name": "splunk", "address": HEC, "secret": TOKEN, **fields})


def credential() -> str:
    (row,) = use_cases.stored_sinks()
    return row.credential()


@pytest.mark.every_database
def test_the_credential_is_sealed_and_recorded_nowhere(cast: Cast, root: Principal) -> None:
    row = add(root)
    assert TOKEN.encode() not in bytes(row.secret)
    assert credential() == TOKEN
    assert TOKEN not in "".join(AuditEvent.objects.values_list("details", flat=True))
    assert [sink.name for sink in event_sinks()] == ["events:splunk"]
    # It gets what is recorded from now on: its own addition is the first.
    first = StreamCursor.objects.get(sink__name="events:splunk", stream="system").sequence
    added = AuditEvent.objects.get(action=Action.SINK_CHANGE)
    assert (added.sequence, added.object_name) == (first + 1, "splunk")
    assert not list(run_checks())


def test_only_administrators_who_proved_themselves_may(cast: Cast, root: Principal) -> None:
    for user in (cast.alice, cast.vera):
        with pytest.raises(Forbidden):
            add(cast.principal(user).proven())
    row = add(root)
    cast.principal(cast.alice)
    with pytest.raises(Forbidden):
        use_cases.try_sink(actor=cast.principal(cast.alice), sink=row)
    with pytest.raises(Forbidden):
        use_cases.remove_sink(actor=cast.principal(cast.alice).proven(), sink=row)


def test_without_a_fresh_proof_nothing_changes(root: Principal) -> None:
    row = add(root)
    stale = replace(root, confirmed=False)
    for act in (
        lambda: use_cases.create_sink(actor=stale, name="other", address="https://h/", secret=""),
        lambda: use_cases.change_sink(actor=stale, sink=row, secret="n"),
        lambda: use_cases.remove_sink(actor=stale, sink=row),
        lambda: use_cases.skip_event(actor=stale, sink=SinkState.objects.get(name=row.sink_name)),
    ):
        with pytest.raises(ConfirmationNeeded):
            act()
    assert credential() == TOKEN


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": "Splunk"}),
        ("name", {"name": "-"}),
        ("address", {"address": "file:/tmp"}),
        ("address", {"address": "syslog://siem.example"}),
        ("address", {"address": "hec://u:p@splunk.example"}),
        ("address", {"address": "hec://splunk.example?token=x"}),
        ("address", {"address": ""}),
        ("credential", {"secret": ""}),
        ("credential", {"secret": "two\nlines"}),
        ("credential", {"address": "s3://bucket", "secret": "no-colon"}),
        ("ca_certificate", {"ca_certificate": "none"}),
        ("ca_certificate", {"ca_certificate": "é"}),
        ("ca_certificate", {"ca_certificate": "x" * 70_000}),
    ],
)
def test_what_is_no_sink_is_refused_at_its_field(root: Principal, field: str, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidField) as refused:
        add(root, **fields)
    assert refused.value.field == field
    assert not EventSink.objects.exists()


def test_a_name_is_one_sink(root: Principal) -> None:
    add(root)
    with pytest.raises(NameInUse):
        add(root)


def test_another_authority_needs_the_credential_again(root: Principal, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    row, ca = add(root), (tmp_path / "ca.pem").read_text()
    with pytest.raises(InvalidField, match="again"):
        use_cases.change_sink(actor=root, sink=row, ca_certificate=ca)
    use_cases.change_sink(actor=root, sink=row, ca_certificate=ca, secret="new")
    assert credential() == "new"


@pytest.mark.every_database
def test_a_row_that_was_edited_gets_no_credential(root: Principal, sql: Callable[..., None]) -> None:
    row = add(root)
    sql("UPDATE environments_app_eventsink SET address = 'hec://evil.example' WHERE id = %s", row.pk)
    (stored,) = use_cases.stored_sinks()
    assert stored.address == ""
    (sink,) = event_sinks()
    with pytest.raises(SinkDown, match="changed outside Keeper"):
        sink.write([b"x"], number=1, stream="system")
    with pytest.raises(Tampered):
        use_cases.change_sink(actor=root, sink=row, secret="n")
    assert [problem.kind for problem in run_checks()] == ["edited"]
    use_cases.remove_sink(actor=root, sink=EventSink.objects.get())
    assert not EventSink.objects.exists()


def test_a_credential_of_another_row_does_not_open(root: Principal, sql: Callable[..., None]) -> None:
    one, other = add(root), add(root, name="other")
    other.secret = one.secret
    with pytest.raises(SinkDown, match="enter it again"):
        use_cases._open(other)


@pytest.fixture
def splunk(tmp_path: Path, settings: Settings, root: Principal) -> Iterator[tuple[Splunk, EventSink]]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    write_certificates(tmp_path)
    made = Splunk()
    with collector(made, tmp_path) as port:
        ca = (tmp_path / "ca.pem").read_text()
        yield made, add(root, address=f"hec://127.0.0.1:{port}", ca_certificate=ca)


def test_a_test_is_an_event_that_arrives(root: Principal, splunk: tuple[Splunk, EventSink]) -> None:
    shown = use_cases.try_sink(actor=root, sink=splunk[1])
    assert shown.ok
    assert [each["event"]["action"] for each in splunk[0].events[-2:]] == ["sink.change", "sink.test"]
    splunk[0].busy = True
    shown = use_cases.try_sink(actor=root, sink=splunk[1])
    assert not shown.ok
    assert "code 9" in str(shown.lines)


def test_a_test_in_a_copy_of_the_installation_is_refused(
    root: Principal, splunk: tuple[Splunk, EventSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_cases, "is_active", lambda: False)
    with pytest.raises(Conflict, match="isn't active"):
        use_cases.try_sink(actor=root, sink=splunk[1])
    assert splunk[0].events == []


def refusing(root: Principal, splunk: tuple[Splunk, EventSink]) -> SinkState:
    splunk[0].refuses = "sink.test"
    use_cases.try_sink(actor=root, sink=splunk[1])
    return SinkState.objects.get(name=splunk[1].sink_name)


@pytest.mark.every_database
def test_a_refused_event_is_skipped_by_name_and_recorded(
    root: Principal, splunk: tuple[Splunk, EventSink]
) -> None:
    state = refusing(root, splunk)
    use_cases.skip_event(actor=root, sink=state)
    event = AuditEvent.objects.get(action=Action.SINK_SKIP)
    assert f'"sequence":{state.refused_sequence}' in event.details
    delivery.deliver_events(at_once=True)
    sequences = [e["event"]["sequence"] for e in splunk[0].events if e["event"]["stream"] == "system"]
    assert state.refused_sequence not in sequences
    assert sequences[-1] == event.sequence
    with pytest.raises(Conflict, match="refuses no event"):
        use_cases.skip_event(actor=root, sink=state)


def test_what_happens_before_the_skip_is_seen(root: Principal, splunk: tuple[Splunk, EventSink]) -> None:
    state = refusing(root, splunk)
    cursors = StreamCursor.objects.filter(sink=state, stream="system")
    # A worker delivers at this moment.
    SinkState.objects.update(leased_until=timezone.now() + timedelta(minutes=1))
    with pytest.raises(Conflict, match="delivering"):
        use_cases.skip_event(actor=root, sink=state)
    with pytest.raises(Conflict, match="delivering"):
        use_cases.remove_sink(actor=root, sink=splunk[1])
    SinkState.objects.update(leased_until=None)
    # It was taken after all, and the note of the refusal is old.
    before = cursors.get().sequence
    cursors.update(sequence=state.refused_sequence)
    with pytest.raises(Conflict, match="taken that event"):
        use_cases.skip_event(actor=root, sink=state)
    # Events before it have not gone out.
    cursors.update(sequence=before - 1)
    with pytest.raises(Conflict, match="taken that event"):
        use_cases.skip_event(actor=root, sink=state)
    # It refuses another one than the administrator saw.
    cursors.update(sequence=before)
    SinkState.objects.update(refused_sequence=(state.refused_sequence or 0) + 1)
    with pytest.raises(Conflict, match="another event"):
        use_cases.skip_event(actor=root, sink=state)
    assert not AuditEvent.objects.filter(action=Action.SINK_SKIP).exists()


def test_what_is_removed_leaves_nothing_behind(root: Principal, splunk: tuple[Splunk, EventSink]) -> None:
    use_cases.remove_sink(actor=root, sink=splunk[1])
    assert not SinkState.objects.filter(name="events:splunk").exists()
    assert event_sinks() == []
    delivery.deliver_events(at_once=True)
    assert splunk[0].events == []


def test_credentials_are_sealed_anew_with_the_system_keys(root: Principal) -> None:
    row = add(root)
    before = bytes(row.secret)
    assert use_cases.reseal_sink_secrets() == []
    assert bytes(EventSink.objects.get().secret) != before
    assert credential() == TOKEN


def test_the_admin_adds_tests_and_removes(cast: Cast, splunk: tuple[Splunk, EventSink]) -> None:
    client = Client()
    client.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    base = "admin:environments_app_eventsink"
    form = {"name": "corp", "address": "https://siem.example/x?format=ocsf", "credential": "s3cret-token"}
    answer = client.post(reverse(f"{base}_add"), form, follow=True)
    assert EventSink.objects.filter(name="corp").exists()
    assert "s3cret-token" not in answer.content.decode()
    page = client.get(reverse(f"{base}_change", args=[splunk[1].pk])).content.decode()
    assert TOKEN not in page
    answer = client.post(reverse(f"{base}_object_act", args=[splunk[1].pk, "test"]))
    assert "The sink took this test" in answer.content.decode()
    shown = client.get(reverse("admin-audit") + "?tab=sinks").content.decode()
    assert "events:splunk" in shown
    client.post(reverse(f"{base}_delete", args=[splunk[1].pk]), {"post": "yes"})
    assert not EventSink.objects.filter(name="splunk").exists()
