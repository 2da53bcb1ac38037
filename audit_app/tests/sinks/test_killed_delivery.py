"""Workers are killed and sinks fail while events go out: none is missing, and each stream keeps its order."""

import gzip
import hashlib
import json
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import uuid4

import boto3
import pytest

from audit_app.tests.sinks.receivers import (
    TOKEN,
    Splunk,
    Syslog,
    collector,
    server_context,
    syslog_server,
)
from tests.processes import Process, database
from tests.servers.__main__ import installation
from tests.servers.certificates import write_certificates
from tests.servers.moto_in_turn import moto_server
from tests.servers.tcp_switch import TcpSwitch, tcp_switch

__all__ = ["database"]
pytestmark = pytest.mark.django_db(transaction=True)
SEED: Final = 20_261
BUCKET: Final = f"events-{uuid4().hex[:12]}"
KILLS: Final = ("received", "taken", "before", "after")
OUTAGES: Final = ("refuse", "mute", "fail", "hang")
# Stream, sequence and id.
Arrival = tuple[str, int, str]


@dataclass
class Receiver:
    """A sink as its vendor documents it, behind a switch; `arrivals` is what it holds, in order."""

    address: str
    token: str
    switch: TcpSwitch
    port: int
    arrivals: Callable[[], list[Arrival]]
    trouble: "Trouble"
    # Object stores keep one of each; others get a repetition after a lost answer.
    repeats: bool = True


@dataclass
class Trouble:
    """What happens to a delivery, at which of its exchanges with the sink; `met` once it happened."""

    what: str = ""
    nth: int = 0
    process: int = -1
    met: bool = False
    count: int = 0
    begin: Callable[[str], None] = lambda _what: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self) -> bool:
        """Return whether the sink takes what has come; called before it does."""
        with self.lock:
            self.count += 1
            due = self.count == self.nth
            if due and self.what == "received":
                self._kill()
            elif due and self.what in OUTAGES:
                self.met = True
                self.begin(self.what)
        return not self.met or self.what in {"taken", "mute"}

    def taken(self) -> None:
        """Be called once the sink took it, before it answers."""
        with self.lock:
            if self.count == self.nth and self.what == "taken" and not self.met:
                self._kill()

    def _kill(self) -> None:
        # By the descriptor: the number might be that of another process by now.
        signal.pidfd_send_signal(self.process, signal.SIGKILL)
        self.met = True


def of_event(event: dict[str, Any]) -> Arrival:
    return event["stream"], event["sequence"], event["id"]


@contextmanager
def splunk(folder: Path, trouble: Trouble) -> Iterator[Receiver]:
    made, held = Splunk(), list[Arrival]()
    made.acknowledges = True
    take = made.take

    def unreliable(path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        if not trouble.arrived():
            return 503, {"text": "Server is busy", "code": 9}
        reply = take(path, headers, body)
        held.extend(of_event(each["event"]) for each in made.events)
        made.events.clear()
        trouble.taken()
        return reply

    with patch.object(made, "take", unreliable), collector(made, folder) as port, tcp_switch(port) as switch:
        yield Receiver(f"hec://127.0.0.1:{switch.port}?ack=1", TOKEN, switch, port, lambda: held, trouble)


@contextmanager
def cef_by_syslog(folder: Path, trouble: Trouble) -> Iterator[Receiver]:
    made, held = Syslog(), list[Arrival]()

    def unreliable(messages: Sequence[bytes]) -> bool:
        if not trouble.arrived():
            return False
        held.extend(map(of_cef, messages))
        trouble.taken()
        return True

    with (
        patch.object(made, "take", unreliable),
        syslog_server(made, folder) as port,
        tcp_switch(port) as switch,
    ):
        address = f"syslog+tls://127.0.0.1:{switch.port}?format=cef"
        yield Receiver(address, "", switch, port, lambda: held, trouble)


_CEF: Final = re.compile(rb" externalId=(\S+) .* cs1=(\S+) cs1Label=stream cn1=(\d+) cn1Label=sequence ")


def of_cef(message: bytes) -> Arrival:
    found = _CEF.search(message)
    assert found, message
    return found[2].decode(), int(found[3]), found[1].decode()


@contextmanager
def ocsf_by_https(folder: Path, trouble: Trouble) -> Iterator[Receiver]:
    held = list[Arrival]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            status = 503
            if trouble.arrived():
                held.extend(map(of_ocsf, body.splitlines()))
                trouble.taken()
                status = 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = server_context(folder).wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    port = server.server_port
    with tcp_switch(port) as switch:
        address = f"https://127.0.0.1:{switch.port}/events?format=ocsf"
        yield Receiver(address, TOKEN, switch, port, lambda: held, trouble)
    server.shutdown()
    server.server_close()


def of_ocsf(line: bytes) -> Arrival:
    event = json.loads(line)
    metadata = event["metadata"]
    return event["unmapped"]["stream"], metadata["sequence"], metadata["uid"]


@contextmanager
def s3_with_object_lock(folder: Path, trouble: Trouble) -> Iterator[Receiver]:
    server = moto_server(0)
    answer = server.app

    def unreliable(environ: dict[str, Any], start_response: Any) -> Any:
        mine = environ["REQUEST_METHOD"] in {"PUT", "HEAD"} and "/siem/" in environ["PATH_INFO"]
        if mine and not trouble.arrived():
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        answered = answer(environ, start_response)
        if mine:
            trouble.taken()
        return answered

    server.app = unreliable
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    with closing(client), tcp_switch(port) as switch:
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        endpoint = f"http://127.0.0.1:{switch.port}"
        address = f"s3://{BUCKET}/siem?region=us-east-1&endpoint={endpoint}&retain_days=30"
        yield Receiver(
            address, "testing:testing", switch, port, lambda: of_objects(client), trouble, repeats=False
        )
    server.shutdown()
    server.server_close()


def of_objects(client: Any) -> list[Arrival]:
    """Read all objects; each has one version, is locked, and begins with the number that its name says."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=BUCKET)
    versions = [each for page in pages for each in page.get("Versions", [])]
    assert len({each["Key"] for each in versions}) == len(versions), "an object was overwritten"
    held = []
    for each in versions:
        found = client.get_object(Bucket=BUCKET, Key=each["Key"])
        assert found["ObjectLockMode"] == "COMPLIANCE"
        lines = gzip.decompress(found["Body"].read()).splitlines()
        arrivals = [of_event(json.loads(line)) for line in lines]
        assert each["Key"].endswith(f"/{arrivals[0][1]:020d}.jsonl.gz")
        held += arrivals
    return held


SINKS: Final = (splunk, cef_by_syslog, ocsf_by_https, s3_with_object_lock)


class Play:
    """Deliveries of one sink, one after the other."""

    def __init__(self, process: Process, receiver: Receiver) -> None:
        self._process, self.receiver = process, receiver
        self.trouble = receiver.trouble
        self.trouble.begin = self._begin
        self.killed = self.outages = 0
        self.seconds = self.cpu = 0.0

    def deliver(self, what: str = "", nth: int = 0) -> None:
        """Deliver what there is, with one trouble on the way."""
        trouble, dies = self.trouble, what if what in {"before", "after"} else ""
        trouble.what, trouble.nth, trouble.met, trouble.count = what, nth, False, 0
        seconds = 2.0 if what in {"mute", "hang"} else 45.0
        pid = self._process.ask("fork", seconds=seconds, dies_at=nth if dies else 0, dies=dies)["pid"]
        trouble.process = os.pidfd_open(pid)
        try:
            ended = self._process.ask("go", pid=pid)
        finally:
            os.close(trouble.process)
        self.receiver.switch.forget()
        self.receiver.switch.turn(self.receiver.port)
        self.killed += ended["killed"]
        self.outages += bool(what in OUTAGES and trouble.met and ended["error"])
        self.seconds += ended["seconds"]
        self.cpu += ended["cpu"]

    def until_all_is_there(self) -> dict[str, tuple[int, str]]:
        """Deliver the rest, and return each stream's head and the digest of its ids."""
        for _ in range(20):
            self.deliver()
            state = self._process.ask("state")
            if not state["behind"]:
                return {stream: (head, digest) for stream, (head, digest) in state["streams"].items() if head}
        raise AssertionError("the sink does not catch up")

    def _begin(self, what: str) -> None:
        switch = self.receiver.switch
        {"refuse": lambda: switch.turn(0), "mute": switch.mute, "hang": switch.swallow}.get(what, int)()


def survive(process: Process, receiver: Receiver, *, events: int, kills: int, outages: int) -> Play:
    """Let each trouble happen so often while events are recorded, and judge what the sink holds."""
    draw, play = random.Random(SEED), Play(process, receiver)
    for _ in range(5 * (kills + outages)):
        if (play.killed, play.outages) == (kills, outages):
            break
        is_kill = play.outages >= outages or (play.killed < kills and draw.random() < 0.5)
        what = KILLS[play.killed % len(KILLS)] if is_kill else OUTAGES[play.outages % len(OUTAGES)]
        process.ask("write", count=events // (kills + outages))
        play.deliver(what, draw.randint(1, 4))
    assert (play.killed, play.outages) == (kills, outages)
    judge(play)
    return play


def judge(play: Play) -> None:
    """Hold what the sink got against the log: nothing missing, in order, repetitions the same events."""
    streams, ids = dict[str, list[int]](), dict[tuple[str, int], str]()
    recorded = play.until_all_is_there()
    arrivals = play.receiver.arrivals()
    for stream, sequence, uuid in arrivals:
        assert ids.setdefault((stream, sequence), uuid) == uuid, "a repetition is another event"
        streams.setdefault(stream, []).append(sequence)
    assert play.receiver.repeats or len(ids) == len(arrivals)
    assert set(streams) == set(recorded)
    for stream, (head, digest) in recorded.items():
        # In the order of their first arrival there is neither a gap nor a leap.
        numbers = list(dict.fromkeys(streams[stream]))
        assert numbers == list(range(1, head + 1))
        assert digest_of(ids[stream, number] for number in numbers) == digest


def digest_of(uuids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(uuids).encode()).hexdigest()


@contextmanager
def playing(sink: Callable[..., Any], folder: Path, database: str) -> Iterator[tuple[Process, Receiver]]:
    """Start a sink, and a Keeper that records and delivers to it."""
    write_certificates(folder)
    with sink(folder, Trouble()) as receiver:
        given = {"address": receiver.address, "ca": (folder / "ca.pem").read_text(), "token": receiver.token}
        process = Process(
            "audit_app.tests.sinks.deliverer",
            {
                **os.environ,
                **installation(folder),
                "DATABASE_URL": database,
                "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
                "KEEPER_LOG_FILE": str(folder / "log"),
                "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
                "SINK": json.dumps(given),
            },
        )
        try:
            yield process, receiver
        finally:
            process.end()


@pytest.mark.every_database_weekly
@pytest.mark.parametrize("sink", SINKS)
def test_kills_and_outages_leave_nothing_out(tmp_path: Path, database: str, sink: Callable[..., Any]) -> None:
    with playing(sink, tmp_path, database) as (process, receiver):
        survive(process, receiver, events=600, kills=4, outages=2)


@pytest.mark.torture
@pytest.mark.parametrize("sink", SINKS)
def test_a_hundred_thousand_events_through_kills_and_outages(
    tmp_path: Path, database: str, sink: Callable[..., Any]
) -> None:
    with playing(sink, tmp_path, database) as (process, receiver):
        survive(process, receiver, events=100_000, kills=20, outages=20)
        # Its figures without trouble.
        play, before = Play(process, receiver), len(receiver.arrivals())
        process.ask("write", count=25_000)
        judge(play)
        events = len(receiver.arrivals()) - before
        print(  # noqa: T201 - the figures of the long form
            f"{sink.__name__}: {before:,} arrivals with trouble; without, {events / play.seconds:,.0f} events/s, "
            f"{play.cpu / events * 1e6:,.0f} µs of CPU each"
        )
