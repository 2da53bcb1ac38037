"""Events to a SIEM: each arrives, in order; what is refused or not acknowledged stops, and is not skipped."""

import gzip
import json
import random
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from pytest_django import Settings

from audit_app.errors import BadSink
from audit_app.models import SinkState, StreamHead, deployment_uuid
from audit_app.sinks import delivery, hec
from audit_app.sinks.base import Sink, StoredSink
from audit_app.sinks.registry import event_sinks, sink_at
from audit_app.tasks import stream_events
from audit_app.tests.sinks.receivers import TOKEN, Splunk, Syslog, collector, syslog_server
from audit_app.tests.trail import STREAM, write
from core.workers import slot
from tests.servers.certificates import write_certificates
from tests.servers.fixtures import moto_url

__all__ = ["moto_url"]
pytestmark = pytest.mark.django_db
stored: list[StoredSink] = []


def rows() -> list[StoredSink]:
    return stored


@pytest.fixture(autouse=True)
def _own_sinks(settings: Settings) -> Iterator[None]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    settings.KEEPER_STORED_EVENT_SINKS = f"{__name__}.rows"
    yield
    stored.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    write_certificates(made)
    return made


def add(address: str, folder: Path, *, token: str = TOKEN, name: str = "siem") -> SinkState:
    """Let events go to an address from now on."""
    ca = (folder / "ca.pem").read_text()
    stored.append(StoredSink(f"events:{name}", address, ca, lambda: token, lambda: True))
    delivery.deliver_events(at_once=True)
    return state(name)


def state(name: str = "siem") -> SinkState:
    return SinkState.objects.get(name=f"events:{name}")


def again() -> None:
    delivery.deliver_events(at_once=True)


@pytest.fixture
def splunk(folder: Path) -> Iterator[tuple[Splunk, str]]:
    made = Splunk()
    with collector(made, folder) as port:
        yield made, f"hec://127.0.0.1:{port}"


def sequences(splunk: Splunk) -> list[int]:
    return [each["event"]["sequence"] for each in splunk.events if each["event"]["stream"] == STREAM]


def test_splunk_gets_each_event_in_its_envelope(
    splunk: tuple[Splunk, str], folder: Path, settings: Settings
) -> None:
    settings.KEEPER_URL = "https://keeper.example.com"
    add(f"{splunk[1]}?index=sec&sourcetype=keeper:audit", folder)
    write(3)
    again()
    assert sequences(splunk[0]) == [1, 2, 3]
    one = splunk[0].events[0]
    assert (one["host"], one["source"], one["sourcetype"], one["index"]) == (
        "keeper.example.com", "keeper", "keeper:audit", "sec",
    )  # fmt: skip
    assert one["event"]["action"] == "secret.reveal"


def test_splunk_that_is_busy_or_knows_no_token_gets_them_later(
    splunk: tuple[Splunk, str], folder: Path
) -> None:
    add(splunk[1], folder)
    write(2)
    splunk[0].busy = True
    again()
    assert "code 9: the server is busy" in state().error
    splunk[0].busy = False
    stored[0] = stored[0]._replace(credential=lambda: "another")
    again()
    assert "code 4: the token is invalid" in state().error
    assert "another" not in state().error
    stored[0] = stored[0]._replace(credential=lambda: TOKEN)
    again()
    assert sequences(splunk[0]) == [1, 2]
    assert (state().failures, state().error) == (0, "")


def test_only_an_acknowledgement_moves_the_cursor(
    splunk: tuple[Splunk, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hec, "_POLL_SECONDS", 0.01)
    splunk[0].acknowledges, splunk[0].pending = True, 2
    add(f"{splunk[1]}?ack=1", folder)
    write(2)
    again()
    assert splunk[0].asked >= 3
    assert (sequences(splunk[0]), state().cursors.get(stream=STREAM).sequence) == ([1, 2], 2)
    # Never acknowledged: they come again, under the same ids.
    splunk[0].pending = None
    monkeypatch.setattr(hec, "_SECONDS", 0.3)
    write(1)
    again()
    assert "acknowledge" in state().error
    assert state().cursors.get(stream=STREAM).sequence == 2
    splunk[0].pending = 0
    again()
    assert sequences(splunk[0]) == [1, 2, 3, 3]
    assert splunk[0].events[-1]["event"]["id"] == splunk[0].events[-2]["event"]["id"]


def test_a_token_without_acknowledgement_and_one_that_demands_it_are_named(
    splunk: tuple[Splunk, str], folder: Path
) -> None:
    add(f"{splunk[1]}?ack=1", folder)
    write(1)
    again()
    assert "leave out ack=1" in state().error
    stored.clear()
    splunk[0].acknowledges = True
    add(splunk[1], folder, name="other")
    write(1)
    again()
    assert "add ack=1" in state("other").error


def test_an_event_that_splunk_refuses_stops_the_sink_where_it_is(
    splunk: tuple[Splunk, str], folder: Path
) -> None:
    add(splunk[1], folder)
    splunk[0].refuses = "poison"
    write(5)
    write(1, details={"name": "poison"})
    write(5)
    for _ in range(3):
        again()
    assert sequences(splunk[0]) == [1, 2, 3, 4, 5]
    assert (state().refused_stream, state().refused_sequence) == (STREAM, 6)
    assert f"refuses event {STREAM} #6" in state().error
    assert "none is lost" in state().error
    splunk[0].refuses = ""
    again()
    assert sequences(splunk[0]) == list(range(1, 12))
    assert (state().refused_stream, state().refused_sequence) == ("", None)


def test_a_batch_is_no_larger_than_the_sink_takes(splunk: tuple[Splunk, str], folder: Path) -> None:
    add(splunk[1], folder)
    write(30, details={"reason": "x" * 65_000})
    again()
    assert sequences(splunk[0]) == list(range(1, 31))
    assert splunk[0].batches == 3 + 1, "and one of the stream of the system"


def test_a_sink_that_hangs_delays_neither_the_others_nor_the_next_run(
    splunk: tuple[Splunk, str],
    folder: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "_WRITE_SECONDS", 0.5)
    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path}"]
    add(splunk[1], folder, name="a-first")
    splunk[0].hangs = True
    write(2)
    began = time.monotonic()
    again()
    assert time.monotonic() - began < 5
    assert "no whole answer" in state("a-first").error
    (file,) = tmp_path.glob("events-*")
    assert file.read_bytes().count(b"\n") >= 2
    # One that fails comes after those that work.
    order: list[str] = []

    def note(sink: Sink, *_: object) -> int:
        order.append(sink.name)
        return 0

    monkeypatch.setattr(delivery, "_deliver", note)
    settings.KEEPER_EVENT_SINKS, stored[0] = [], stored[0]
    stored.append(stored[0]._replace(name="events:b-works"))
    again()
    assert order == ["events:b-works", "events:a-first"]


def test_a_second_run_serves_the_others_while_the_first_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.workers._concurrency", 10)
    ran: list[bool] = []
    monkeypatch.setattr(delivery, "deliver_events", lambda: ran.append(True))
    with slot("event-sinks", share=0.4):
        stream_events.run()
        assert ran == [True]
        with slot("event-sinks", share=0.4):
            stream_events.run()
    assert ran == [True]


def test_a_certificate_of_another_name_or_authority_gets_nothing(
    splunk: tuple[Splunk, str], folder: Path
) -> None:
    add(splunk[1].replace("127.0.0.1", "localhost"), folder)
    write(1)
    again()
    assert state().failures
    stored[0] = stored[0]._replace(address=splunk[1], ca="")
    again()
    assert (splunk[0].events, state().failures > 1) == ([], True)


def test_an_address_inside_gets_nothing(splunk: tuple[Splunk, str], folder: Path, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    add(splunk[1], folder)
    write(1)
    again()
    assert "doesn't connect" in state().error


@pytest.fixture
def syslog(folder: Path) -> Iterator[tuple[Syslog, str]]:
    made = Syslog()
    with syslog_server(made, folder) as port:
        yield made, f"syslog+tls://127.0.0.1:{port}?format=cef"


def test_syslog_over_tls_gets_cef_by_counted_octets(syslog: tuple[Syslog, str], folder: Path) -> None:
    add(syslog[1], folder)
    write(2, details={"reason": "two\nlines|=\\"})
    again()
    mine = [message for message in syslog[0].messages if b"cs1=environment:a" in message]
    assert len(mine) == 2
    head, _, text = mine[0].partition(b" - CEF:0|")
    assert head.startswith(b"<109>1 - ")
    assert b"\n" not in text
    assert b'msg={"reason":"two\\\\nlines|\\=\\\\\\\\"}' in text


def test_a_connection_that_is_cut_repeats_and_leaves_nothing_out(
    syslog: tuple[Syslog, str], folder: Path
) -> None:
    add(syslog[1], folder)
    syslog[0].cuts_after = 100
    write(200)
    again()
    assert state().failures == 1
    syslog[0].cuts_after = None
    again()
    numbers = [
        int(m.partition(b" cn1=")[2].split(b" ")[0]) for m in syslog[0].messages if b"cs1=environment:a" in m
    ]
    assert numbers == list(range(1, 201))


def test_a_receiver_that_stops_reading_is_left_after_the_deadline(
    syslog: tuple[Syslog, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(syslog[1], folder)
    syslog[0].reads = False
    monkeypatch.setattr(delivery, "_WRITE_SECONDS", 0.5)
    write(50, details={"reason": "x" * 60_000})
    began = time.monotonic()
    again()
    assert time.monotonic() - began < 5
    assert "no whole answer" in state().error


def test_syslog_with_the_certificate_of_another_name_gets_nothing(
    syslog: tuple[Syslog, str], folder: Path
) -> None:
    add(syslog[1].replace("127.0.0.1", "localhost"), folder)
    write(1)
    again()
    assert state().failures
    assert syslog[0].messages == []


@pytest.fixture
def bucket(moto_url: str) -> Iterator[tuple[str, Any, str]]:
    """An address of a bucket with object lock, the operator's client, and the name."""
    name = f"events-{uuid4().hex[:12]}"
    with closing(
        boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=moto_url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
    ) as client:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        yield f"s3://{name}/siem?region=us-east-1&endpoint={moto_url}&retain_days=30", client, name


def kept(bucket: tuple[str, Any, str]) -> dict[str, list[dict[str, Any]]]:
    _, client, name = bucket
    listed = client.list_objects_v2(Bucket=name).get("Contents", [])
    bodies = {one["Key"]: client.get_object(Bucket=name, Key=one["Key"])["Body"].read() for one in listed}
    return {
        key: [json.loads(line) for line in gzip.decompress(body).splitlines()] for key, body in bodies.items()
    }


def flush() -> None:
    delivery.deliver_at_once("events:siem")


def test_s3_keeps_each_batch_locked(bucket: tuple[str, Any, str], folder: Path) -> None:
    add(bucket[0], folder, token="testing:testing")
    write(3)
    again()
    assert kept(bucket) == {}, "a small batch waits for a minute"
    flush()
    key = f"siem/{deployment_uuid()}/events/environment/a/{1:020d}.jsonl.gz"
    assert [event["sequence"] for event in kept(bucket)[key]] == [1, 2, 3]
    head = bucket[1].head_object(Bucket=bucket[2], Key=key)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    write(2)
    flush()
    assert [event["sequence"] for event in kept(bucket)[key.replace(f"{1:020d}", f"{4:020d}")]] == [4, 5]


def test_s3_after_a_crash_between_object_and_cursor_leaves_no_gap(
    bucket: tuple[str, Any, str], folder: Path
) -> None:
    add(bucket[0], folder, token="testing:testing")
    write(2)
    flush()
    state().cursors.filter(stream=STREAM).update(sequence=0)
    write(3)
    flush()
    mine = [
        event["sequence"]
        for key, events in sorted(kept(bucket).items())
        if "environment" in key
        for event in events
    ]
    assert mine == [1, 2, 3, 4, 5]
    assert state().failures == 0


def test_s3_that_holds_something_else_there_stops(bucket: tuple[str, Any, str], folder: Path) -> None:
    add(bucket[0], folder, token="testing:testing")
    write(1)
    key = f"siem/{deployment_uuid()}/events/environment/a/{1:020d}.jsonl.gz"
    bucket[1].put_object(Bucket=bucket[2], Key=key, Body=gzip.compress(b'{"forged":1}\n'))
    flush()
    assert "another object lies" in state().error
    assert (state().refused_stream, state().refused_sequence) == (STREAM, 1)


@pytest.mark.parametrize(
    ("code", "told"),
    [("AccessDenied", "AccessDenied"), ("SlowDown", "SlowDown"), ("InvalidRequest", "Object Lock")],
)
def test_s3_that_refuses_is_tried_again(
    bucket: tuple[str, Any, str], folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    add(bucket[0], folder, token="testing:testing")
    write(1)

    def refuse(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, "PutObject")

    with monkeypatch.context() as patched:
        patched.setattr("botocore.client.BaseClient._make_api_call", refuse)
        flush()
    assert told in state().error
    assert kept(bucket) == {}
    flush()
    assert any("environment" in key for key in kept(bucket))


def test_s3_that_takes_objects_and_locks_none_is_found(
    bucket: tuple[str, Any, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "audit_app.sinks.s3_events.S3EventSink._put_lines",
        lambda _self, client, key, lines: (
            client.put_object(Bucket=bucket[2], Key=key, Body=gzip.compress(b"".join(lines))) and len(lines)
        ),
    )
    add(bucket[0], folder, token="testing:testing")
    write(1)
    flush()
    assert state().failures
    assert not state().cursors.filter(stream=STREAM, sequence__gte=1).exists()


def test_a_sink_whose_row_was_edited_stops_and_the_others_do_not(
    splunk: tuple[Splunk, str], folder: Path
) -> None:
    add(splunk[1], folder)
    stored.append(stored[0]._replace(name="events:edited", address=""))
    again()
    write(1)
    again()
    assert "changed outside Keeper" in state("edited").error
    assert sequences(splunk[0]) == [1]


def test_a_sink_that_was_removed_meanwhile_gets_nothing_and_leaves_no_state(
    splunk: tuple[Splunk, str], folder: Path
) -> None:
    add(splunk[1], folder)
    write(1)
    stored[0] = stored[0]._replace(exists=lambda: False)
    SinkState.objects.all().delete()
    again()
    assert (splunk[0].events, SinkState.objects.filter(name="events:siem").exists()) == ([], False)


def test_a_sink_that_does_not_catch_up_in_its_time_is_told(
    splunk: tuple[Splunk, str], folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Alerts:
        def raised(self, *, kind: str, subject: str, lines: list[str]) -> None:
            told.append(f"raised {kind}")

        def over(self, *, kind: str, subject: str) -> None:
            told.append(f"over {kind}")

    add(splunk[1], folder)
    monkeypatch.setattr(delivery, "audit_log_alerts", Alerts)
    write(3)
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_WORK", timedelta(seconds=-1))
        delivery.deliver_events()
    delivery.deliver_events()
    assert told == ["raised events:siem late", "over events:siem late"]


@pytest.mark.parametrize("address", ["hec://a..b", f"syslog+tls://{'x' * 80}.example", "https://a..b/"])
def test_a_host_that_is_none_stops_its_own_sink(
    splunk: tuple[Splunk, str], folder: Path, address: str
) -> None:
    add(address, folder, name="a-none")
    add(splunk[1], folder)
    write(1)
    again()
    assert state("a-none").failures == 1
    assert sequences(splunk[0]) == [1]


def test_an_error_that_nobody_foresaw_is_told_and_delays_no_other(
    splunk: tuple[Splunk, str],
    folder: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fall(*_: object, **__: object) -> int:
        raise ZeroDivisionError

    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path}"]
    add(splunk[1], folder)
    write(1)
    monkeypatch.setattr("audit_app.sinks.file.FileSink.write", fall)
    with pytest.raises(ZeroDivisionError):
        again()
    assert sequences(splunk[0]) == [1]
    fallen = SinkState.objects.get(name__startswith="events:file")
    assert "ZeroDivisionError" in fallen.error
    assert fallen.leased_until is None


@pytest.mark.parametrize(
    "address",
    [
        "hec:",
        "hec://h?ack=2",
        "hec://h?x=1",
        "hec://u:p@h",
        "https://h/?format=xml",
        "syslog://h",
        "file:/tmp",
        "s3://b?retain_days=x",
    ],
)
def test_what_is_no_stored_sink_is_refused(address: str) -> None:

    with pytest.raises(BadSink):
        sink_at(address, what="events", name="events:x", credential=str)


def test_formats_belong_to_the_sinks_of_settings_too(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path}?format=ocsf"]
    again()
    write(1)
    again()
    (file,) = tmp_path.glob("events-*")
    assert {json.loads(line)["metadata"]["version"] for line in file.read_text().splitlines()} == {"1.6.0"}
    assert [sink.kind for sink in event_sinks()] == ["file"]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_each_event_arrives_and_in_order(
    splunk: tuple[Splunk, str], folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Outages before and after the collector took a batch, and workers that are killed before they note it."""
    draw, noted, take = random.Random(seed), delivery.taken, splunk[0].take

    def unreliable(path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        if draw.random() < 0.3:
            return 503, {"text": "Server is busy", "code": 9}
        reply = take(path, headers, body)
        return reply if draw.random() < 0.7 else (500, {})

    def killed(*arguments: Any) -> None:
        if draw.random() < 0.3:
            raise KeyboardInterrupt
        noted(*arguments)

    add(splunk[1], folder)
    monkeypatch.setattr("audit_app.sinks.base.Sink.most_lines", 7)
    monkeypatch.setattr(splunk[0], "take", unreliable)
    monkeypatch.setattr(delivery, "taken", killed)
    for _ in range(12):
        write(draw.randrange(1, 9))
        with suppress(KeyboardInterrupt):
            again()
        SinkState.objects.update(leased_until=None)
    monkeypatch.setattr(splunk[0], "take", take)
    monkeypatch.setattr(delivery, "taken", noted)
    again()
    arrived = sequences(splunk[0])
    # In the order of their first arrival there is neither a gap nor a leap; a repetition is the same event.
    assert list(dict.fromkeys(arrived)) == list(range(1, max(arrived) + 1))
    assert max(arrived) == StreamHead.objects.get(stream=STREAM).sequence
    ids = {
        (each["event"]["sequence"], each["event"]["id"])
        for each in splunk[0].events
        if each["event"]["stream"] == STREAM
    }
    assert len(ids) == max(arrived) < len(arrived)
