"""Every kind of sink against something real: what is written arrives, in order, or is not certain."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import boto3
import pytest
from pytest_django import Settings

from audit_app.checkpoints.anchors import fetch_anchors
from audit_app.checkpoints.inspection import whole_log
from audit_app.checkpoints.schedule import anchor_log
from audit_app.errors import BadSink, SinkDown
from audit_app.models import Checkpoint, SinkState
from audit_app.sinks.registry import Sink, sink_at
from audit_app.tests.trail import write
from tests.servers.fixtures import moto_url
from tests.servers.server import free_port

__all__ = ["moto_url"]
LINES = [b'{"n":1}\n', b'{"n":2}\n']


@pytest.fixture(autouse=True)
def _loopback(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    settings.KEEPER_AUDIT_HTTP_TOKEN = ""


class Taking(BaseHTTPRequestHandler):
    status: ClassVar[int] = 204
    taken: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((dict(self.headers), body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[tuple[str, type[Taking]]]:
    handler = type("Handler", (Taking,), {"taken": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield f"http://127.0.0.1:{server.server_port}/hook/s3cret", handler
    server.shutdown()
    server.server_close()


def test_http_takes_a_batch_with_the_token(listener: tuple[str, type[Taking]], settings: Settings) -> None:
    settings.KEEPER_AUDIT_HTTP_TOKEN = "t0ken"
    url, handler = listener
    sink = sink_at(url, what="checkpoints")
    sink.write(LINES, number=7)
    ((headers, body),) = handler.taken
    assert body == b"".join(LINES)
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Idempotency-Key"].startswith("7-")
    assert "s3cret" not in sink.name


@pytest.mark.parametrize("status", [301, 302, 400, 500])
def test_http_is_down_unless_it_says_that_it_took(listener: tuple[str, type[Taking]], status: int) -> None:
    url, handler = listener
    handler.status = status
    with pytest.raises(SinkDown, match=str(status)) as caught:
        sink_at(url, what="checkpoints").write(LINES, number=1)
    assert "s3cret" not in str(caught.value)


def test_nothing_listens() -> None:
    port = free_port()
    for address in (
        f"http://127.0.0.1:{port}/s3cret",
        f"syslog://127.0.0.1:{port}",
        f"syslog+tls://127.0.0.1:{port}",
        "syslog:/nowhere",
    ):
        with pytest.raises(SinkDown) as caught:
            sink_at(address, what="checkpoints").write(LINES, number=1)
        assert "s3cret" not in str(caught.value)


def test_syslog_over_tls_sends_nothing_in_the_clear() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        greeting: list[bytes] = []

        def listen() -> None:
            with closing(server.accept()[0]) as accepted:
                greeting.append(accepted.recv(4096))

        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(SinkDown):
            sink_at(f"syslog+tls://127.0.0.1:{server.getsockname()[1]}", what="events").write(LINES, number=1)
        thread.join()
    # A TLS handshake record, and no event.
    assert greeting[0][:1] == b"\x16"


def test_a_file_counts_as_written_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("audit_app.sinks.file.os.fsync", synced.append)
    sink_at(f"file:{tmp_path}", what="events").write(LINES, number=1)
    assert len(synced) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "syslog://127.0.0.1:9"])
def test_the_endpoint_rule_holds(settings: Settings, address: str) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    with pytest.raises(SinkDown):
        sink_at(address, what="checkpoints").write(LINES, number=1)


def test_local_syslog_takes_a_message_a_line(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as daemon:
        daemon.bind(str(tmp_path / "log"))
        sink_at(f"syslog:{tmp_path / 'log'}", what="events").write(LINES, number=1)
        messages = [daemon.recv(4096) for _ in LINES]
    assert messages[0].startswith(b"<109>1 - ")
    assert [message.partition(b" events - ")[2] + b"\n" for message in messages] == LINES


def test_syslog_by_tcp_counts_its_messages() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sink_at(f"syslog://127.0.0.1:{port}", what="events").write(LINES, number=1)
        with closing(server.accept()[0]) as accepted:
            stream = accepted.makefile("rb").read()
    length, _, rest = stream.partition(b" ")
    first, second = rest[: int(length)], rest[int(length) :]
    assert first.endswith(b'{"n":1}')
    assert second.endswith(b'{"n":2}')


@pytest.fixture
def bucket(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """An address of a bucket with object lock, and the operator's own client."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    name = f"anchors-{uuid4().hex[:12]}"
    with closing(boto3.client("s3", region_name="us-east-1", endpoint_url=moto_url)) as client:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        yield f"s3://{name}/keeper?region=us-east-1&endpoint={moto_url}", client


@pytest.mark.django_db
@pytest.mark.every_database
def test_s3_anchors_the_trail(bucket: tuple[str, Any], settings: Settings) -> None:
    address, client = bucket
    settings.KEEPER_AUDIT_SINKS = [f"{address}&retain_days=30"]
    for _ in range(3):
        write()
        anchor_log(at_once=True)
    newest = fetch_anchors().newest
    assert newest
    assert newest.checkpoint.number == 3
    assert list(whole_log()) == []
    name = address.split("/")[2]
    objects = client.list_objects_v2(Bucket=name)["Contents"]
    assert len(objects) == 3
    assert client.head_object(Bucket=name, Key=objects[0]["Key"])["ObjectLockMode"] == "COMPLIANCE"
    # A delivery whose reply was lost is made again, and is the same.
    SinkState.objects.update(position=1)
    anchor_log(at_once=True)
    assert SinkState.objects.get(name__startswith="checkpoints:s3").position == 3
    assert len(client.list_objects_v2(Bucket=name)["Contents"]) == 3


@pytest.mark.django_db
def test_s3_overwrites_nothing(bucket: tuple[str, Any]) -> None:
    sink = sink_at(bucket[0], what="checkpoints")
    sink.write(LINES[:1], number=1)
    sink.write(LINES[:1], number=1)
    with pytest.raises(SinkDown, match="another checkpoint"):
        sink.write(LINES[1:], number=1)
    (kept,) = bucket[1].list_objects_v2(Bucket=bucket[0].split("/")[2])["Contents"]
    held = bucket[1].get_object(Bucket=bucket[0].split("/")[2], Key=kept["Key"])
    assert held["Body"].read() == LINES[0]


@pytest.mark.django_db
def test_s3_takes_no_older_checkpoint_for_a_newer_one(bucket: tuple[str, Any], settings: Settings) -> None:
    """As whoever may put objects, and sets the database back, would try."""
    address, client = bucket
    settings.KEEPER_AUDIT_SINKS = [address]
    write()
    anchor_log(at_once=True)
    name = address.split("/")[2]
    (lying,) = client.list_objects_v2(Bucket=name)["Contents"]
    body = client.get_object(Bucket=name, Key=lying["Key"])["Body"].read()
    folder, _, _ = lying["Key"].rpartition("/")
    client.put_object(Bucket=name, Key=f"{folder}/{10**15 - 9:016d}.json", Body=body)
    assert [problem.kind for problem in whole_log()] == ["forged"]


@pytest.mark.django_db
def test_what_is_locked_is_read_although_it_was_deleted_or_written_over(
    bucket: tuple[str, Any], settings: Settings
) -> None:
    address, client = bucket
    settings.KEEPER_AUDIT_SINKS = [f"{address}&retain_days=30"]
    for _ in range(2):
        write()
        anchor_log(at_once=True)
    name = address.split("/")[2]
    newest, older = (each["Key"] for each in client.list_objects_v2(Bucket=name)["Contents"])
    body = client.get_object(Bucket=name, Key=older)["Body"].read()
    client.delete_object(Bucket=name, Key=newest)
    assert list(whole_log()) == []
    client.put_object(Bucket=name, Key=newest, Body=body)
    assert list(whole_log()) == []
    Checkpoint.objects.filter(number=2)._raw_delete("default")
    SinkState.objects.update(position=1)
    assert [problem.kind for problem in whole_log()] == ["rewound"]


@pytest.mark.django_db
def test_s3_that_refuses_is_down(moto_url: str, bucket: tuple[str, Any]) -> None:
    sink: Sink = sink_at(bucket[0].replace("anchors-", "absent-"), what="checkpoints")
    with pytest.raises(SinkDown, match="NoSuchBucket"):
        sink.newest()
    with pytest.raises(SinkDown, match="NoSuchBucket"):
        sink.write(LINES, number=1)


@pytest.mark.parametrize(
    "address",
    [
        "s3:",
        "s3://bucket?retain_days=x",
        "s3://bucket?key=y",
        "https:",
        "https://u:p@host/",
        "syslog+tls:",
        "http://host:x",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(BadSink) as caught:
        sink_at(address, what="checkpoints")
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gopher://host/", "begins with none of"),
        ("https://:p@host/", "no user or password"),
        ("https://u@host/", "no user or password"),
        ("https://:8443/", "no user or password"),
        ("file:relative", "absolute"),
        ("file://host/directory", "absolute"),
        ("https://host/?format=xml", "format is one of"),
    ],
)
def test_a_refusal_names_what_is_wrong_with_an_address(address: str, words: str) -> None:
    with pytest.raises(BadSink, match=words):
        sink_at(address, what="events")


@pytest.mark.parametrize("address", ["file:/var/events", "syslog:", "syslog://host:514"])
def test_who_adds_a_sink_on_a_page_reaches_neither_files_nor_plain_syslog(address: str) -> None:
    sink_at(address, what="events")
    with pytest.raises(BadSink):
        sink_at(address, what="events", name="added")


def test_the_usual_directory_of_anchors_is_another_than_that_of_events(settings: Settings) -> None:
    settings.KEEPER_DATA_DIR = "/var/keeper"
    names = {what: sink_at("file", what=what).name for what in ("checkpoints", "events")}
    assert "/var/keeper/anchors" in names["checkpoints"]
    assert "/var/keeper/events" in names["events"]
    assert "/elsewhere" in sink_at("file:/elsewhere", what="events").name
