"""How web processes reach the read engine: channels, those who wait, and the engine's end and beginning."""

import marshal
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connections

from gateway_app.engine import client as engine_module
from gateway_app.engine import process
from gateway_app.engine.client import MAX_WAITING, EngineBusy, ReadEngine
from gateway_app.engine.messages import answer_of, request_text
from gateway_app.engine.process import MAX_BATCH, Batches, EngineServer
from gateway_app.engine.reads import ListPoll, ReadRequest, Request, Serve, Served, Unchanged
from secrets_app.envelope import MAX_ENVELOPE_BYTES


def request(number: int) -> ReadRequest:
    return ReadRequest("p" * 22, "s" * 43, "127.0.0.1", f"request-{number}", secret_id=number)


def served(requests: Sequence[Any]) -> list[Served]:
    return [Unchanged(f"read {each.secret_id}") for each in requests]


def read(engine: ReadEngine, number: int) -> str | None:
    got = engine.read(request(number))
    return got.etag if got else None


class Gate:
    """Serves when it is opened, and keeps the sizes of the batches."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def __call__(self, requests: Sequence[Any]) -> list[Served]:
        self.sizes.append(len(requests))
        self.entered.set()
        assert self.opened.wait(60)
        return served(requests)


class World:
    """A door, and engines that serve at it in threads of this process, one after the other."""

    def __init__(self) -> None:
        self.inside, self.outside = socket.socketpair()
        self.web = ReadEngine(self.outside)
        self.servers: list[EngineServer] = []
        self.threads: list[threading.Thread] = []

    def serve(self, serve: Serve = served) -> EngineServer:
        # What `run` closes is its own: the door is for the next one as well.
        server = EngineServer(self.inside, Batches(serve))
        self.servers.append(server)
        self.threads.append(threading.Thread(target=self._run, args=(server,)))
        self.threads[-1].start()
        return server

    @staticmethod
    def _run(server: EngineServer) -> None:
        try:
            server.run()
        except SystemExit:
            # As in a process: nothing of it is left.
            return

    def end(self) -> None:
        self.web.stop()
        for server, thread in zip(self.servers, self.threads, strict=True):
            if thread.is_alive():
                server.stop()
            thread.join(60)
            assert not thread.is_alive()
        self.inside.close()
        self.outside.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(engine_module, "_GREETING_SECONDS", 60.0)
    made = World()
    yield made
    made.end()


def test_each_gets_the_answer_to_its_own_request(world: World) -> None:
    world.serve()
    with ThreadPoolExecutor(40) as pool:
        assert [*pool.map(lambda n: read(world.web, n), range(1, 201))] == [
            f"read {n}" for n in range(1, 201)
        ]


def test_those_who_wait_are_served_together_up_to_a_limit(world: World) -> None:
    gate, last = Gate(), MAX_BATCH + 21
    world.serve(gate)
    channels = {number: engine_module._connected(world.outside, 60) for number in range(1, last + 1)}
    channels[1].send_bytes(request_text(request(1)))
    assert gate.entered.wait(60)
    for number in range(2, last + 1):
        channels[number].send_bytes(request_text(request(number)))
    gate.opened.set()
    for number, channel in channels.items():
        got = answer_of(channel.recv_bytes(), request(number))
        assert got == Unchanged(f"read {number}")
        channel.close()
    assert gate.sizes == [1, MAX_BATCH, 20]


def test_a_web_process_reaches_it_by_the_door_alone(world: World) -> None:
    assert read(ReadEngine(None), 1) is None
    world.serve()
    assert read(world.web, 1) == "read 1"


def test_without_an_engine_reads_are_left_to_the_general_path(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    web = ReadEngine(world.outside, clock=lambda: now[0])
    monkeypatch.setattr(engine_module, "_GREETING_SECONDS", 0.1)
    assert read(web, 1) is None
    monkeypatch.setattr(engine_module, "_GREETING_SECONDS", 60.0)
    world.serve()
    # For a moment nobody waits for it.
    assert read(web, 2) is None
    now[0] += 2
    assert read(web, 3) == "read 3"
    web.stop()


def test_an_engine_that_ends_leaves_its_batch_to_the_general_path_and_is_replaced(world: World) -> None:
    def end(_requests: Sequence[Request]) -> list[Served]:
        raise SystemExit

    world.serve(end)
    assert read(world.web, 1) is None
    world.threads[0].join(60)
    world.serve()
    assert [read(world.web, number) for number in (2, 3)] == ["read 2", "read 3"]


def test_a_channel_that_waited_for_an_engine_that_ended_is_not_used_again(world: World) -> None:
    first = world.serve()
    assert read(world.web, 1) == "read 1"
    idle = [*world.web._idle]
    # No web process is left to wait for, as it looks to the engine.
    first._drop(next(iter(first._peers)))
    first.stop()
    world.threads[0].join(60)
    world.serve()
    # The first one finds the channel closed.
    assert read(world.web, 2) is None
    assert read(world.web, 3) == "read 3"
    assert world.web._idle != idle


def test_one_request_does_not_spoil_the_others(world: World) -> None:
    def serve(requests: Sequence[Any]) -> list[Served]:
        if any(each.secret_id == 7 for each in requests):
            raise IntegrityError("canary")
        return served(requests)

    world.serve(serve)
    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(lambda n: read(world.web, n), (6, 7, 8))] == ["read 6", None, "read 8"]


def test_who_waits_too_long_gets_nothing(world: World) -> None:
    gate = Gate()
    world.serve(gate)
    web = ReadEngine(world.outside, wait=0.2)
    with pytest.raises(EngineBusy):
        read(web, 1)
    gate.opened.set()
    # The late answer is nobody's: the next read has a channel of its own.
    assert read(world.web, 2) == "read 2"
    assert web._idle == []
    web.stop()


def test_who_went_while_a_batch_took_long_is_not_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LATE_SECONDS", -1.0)
    gate = Gate()
    world.serve(gate)
    waits, goes, stays = (engine_module._connected(world.outside, 60) for _ in range(3))
    waits.send_bytes(request_text(request(1)))
    assert gate.entered.wait(60)
    for number, channel in ((2, goes), (3, stays)):
        channel.send_bytes(request_text(request(number)))
    goes.close()
    gate.opened.set()
    for number, channel in ((1, waits), (3, stays)):
        assert answer_of(channel.recv_bytes(), request(number)) == Unchanged(f"read {number}")
        channel.close()
    # Nothing of the second is recorded.
    assert gate.sizes == [1, 1]


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the exit codes with which this process would have ended."""
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0)
    return codes


def test_a_batch_that_is_stuck_ends_the_process(ends: list[int]) -> None:
    now = [100.0]
    batches = Batches(served, clock=lambda: now[0])
    batches.busy_since = now[0]
    now[0] += process.STUCK_SECONDS + 1
    with pytest.raises(Ended):
        process._watch(batches)
    assert ends == [1]


def test_keys_that_cannot_be_looked_after_end_the_process(
    ends: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[Exception] = [RuntimeError("canary"), InterfaceError("canary"), OperationalError("canary")]

    def look() -> None:
        raise looks.pop()

    monkeypatch.setattr(process, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(process, "keyring", look)
    monkeypatch.setattr(connections, "close_all", lambda: None)
    with pytest.raises(Ended):
        process._keep_keys()
    # The database may come back; an error that is not known may not.
    assert (ends, looks) == ([1], [])
    assert "canary" not in caplog.text


def test_more_than_a_number_do_not_wait(world: World) -> None:
    gate = Gate()
    world.serve()
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        assert all(pool.map(lambda n: read(world.web, n), range(1, 2 * MAX_WAITING)))
        world.servers[0].batches._serve = gate
        reads = [pool.submit(read, world.web, n) for n in range(1, MAX_WAITING + 1)]
        while world.web._room._value:
            time.sleep(0.01)
        try:
            with pytest.raises(EngineBusy):
                read(world.web, 1)
        finally:
            gate.opened.set()
        assert [each.result() for each in reads] == [f"read {n}" for n in range(1, MAX_WAITING + 1)]
    assert read(world.web, 1) == "read 1"


def test_a_read_that_waits_long_shows(world: World) -> None:
    now, gate = [100.0], Gate()
    world.serve(gate)
    web = ReadEngine(world.outside, clock=lambda: now[0])
    assert web.stuck_seconds() == 0
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(read, web, 1)
        assert gate.entered.wait(60)
        now[0] += 21
        assert web.stuck_seconds() == 21
        gate.opened.set()
        assert late.result() == "read 1"
    assert web.stuck_seconds() == 0
    web.stop()


def test_reads_after_the_end_are_left_to_the_general_path(world: World) -> None:
    world.serve()
    assert read(world.web, 1) == "read 1"
    world.web.stop()
    assert read(world.web, 2) is None


def test_it_serves_until_the_last_web_process_has_ended(world: World) -> None:
    server = world.serve()
    assert read(world.web, 1) == "read 1"
    server.stop()
    assert read(world.web, 2) == "read 2"
    world.web.stop()
    world.threads[0].join(60)
    assert not world.threads[0].is_alive()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda end: end.close(),
        lambda end: os.write(end.fileno(), b"\0\0\0"),
        lambda end: os.write(end.fileno(), b"\0\0\1\0abc"),
        lambda end: os.write(end.fileno(), b"\x7f\0\0\0"),
        lambda end: (os.write(end.fileno(), b"\0\0\0\5"), end.close()),
        lambda end: end.send_bytes(b"abc"),
        lambda end: end.send_bytes(marshal.dumps(1)),
        lambda end: end.send_bytes(marshal.dumps(("unknown", 1))),
        lambda end: end.send_bytes(marshal.dumps(("read", 1))),
    ],
)
def test_a_channel_that_breaks_off_harms_no_other(world: World, spoil: Callable[[Connection], Any]) -> None:
    world.serve()
    assert read(world.web, 1) == "read 1"
    broken = engine_module._connected(world.outside, 60)
    spoil(broken)
    assert read(world.web, 2) == "read 2"
    broken.close()


def test_a_child_process_has_the_door(world: World) -> None:
    world.serve()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # Nothing of the parent's test may run on here.
        with os.fdopen(writing, "wb") as told:
            told.write(str(read(ReadEngine(world.outside), 2)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        assert told.read() == b"read 2"
    os.waitpid(child, 0)
    assert read(world.web, 3) == "read 3"


def test_every_request_arrives_as_it_was_sent(world: World) -> None:
    asked: list[Request] = []

    def serve(requests: Sequence[Request]) -> list[Served]:
        asked.extend(requests)
        return [None] * len(requests)

    world.serve(serve)
    sent: list[Request] = [
        request(1),
        ReadRequest("p", None, "::1", "ü", environment="e", name="a/ü", known=frozenset({'"1"', "*"})),
        ReadRequest("p", "s", "", "", secret_id=2, details={"protocol": "kv2", "n": [1, None, True]}),
        ListPoll("p", "s", "127.0.0.1", "r", "e", "a/", "json", frozenset({'"x"'})),
    ]
    assert [world.web.read(each) for each in sent] == [None] * len(sent)
    assert asked == sent


def test_the_longest_value_goes_in_one_piece(world: World) -> None:
    world.serve(lambda requests: [Unchanged("e" * MAX_ENVELOPE_BYTES)] * len(requests))
    assert read(world.web, 1) == "e" * MAX_ENVELOPE_BYTES


def test_requests_and_reads_show_nothing() -> None:
    assert repr(request(1)) == "ReadRequest()"
