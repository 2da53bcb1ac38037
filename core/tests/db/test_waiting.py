"""A server that takes what it is sent and says nothing costs seconds, at each point of a conversation."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections, transaction

from core.db.concurrency import AWAY, WORK
from core.tests.db.test_hosts import connect, first_port, port_of
from tests.servers.tcp_switch import TcpSwitch, tcp_switch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
ALIAS = "by-the-switch"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "mysql":
        pytest.skip("SQLite is a library")
    from core.db.mariadb import base, waiting

    for module in (base, waiting):
        monkeypatch.setattr(module, "HOST_SECONDS", 1.0)
    monkeypatch.setattr(base, "_CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(waiting, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "_STATEMENT_SECONDS", 0.4)


@pytest.fixture
def switch() -> Iterator[TcpSwitch]:
    """Give a way to the database, which `ALIAS` takes."""
    with tcp_switch(first_port()) as made:
        database = connect(made.port)
        database.settings_dict["NAME"] = connection.settings_dict["NAME"]
        connections[ALIAS] = database
        yield made
        database.close()
        del connections[ALIAS]


@contextmanager
def soon() -> Iterator[None]:
    """Hold that a wait ends; without an end of its own it lasts until the kernel gives up, for minutes."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 30


def lost(act: Callable[[], None]) -> bool:
    """Return whether what is done loses its connection, soon."""
    with soon(), pytest.raises(OperationalError) as caught:
        act()
    return caught.value.args[0] in AWAY


@contextmanager
def listener(greeting: bytes) -> Iterator[int]:
    """Give a port where connections are taken, perhaps greeted, and never answered."""
    taken: list[socket.socket] = []

    def take() -> None:
        try:
            while True:
                each, _ = server.accept()
                taken.append(each)
                each.sendall(greeting)
        except OSError:
            # It was shut.
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    for each in taken:
        each.close()


@pytest.mark.parametrize("is_greeted", [False, True])
def test_a_host_that_accepts_and_says_no_more(is_greeted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.db.mariadb import base

    with socket.create_connection(("127.0.0.1", first_port())) as client:
        greeting = client.recv(4096) if is_greeted else b""
    with listener(greeting) as silent, soon():
        with pytest.raises(OperationalError):
            connect(silent).ensure_connection()
        monkeypatch.setattr(base, "_CONNECT_SECONDS", 5.0)
        database = connect(silent, first_port())
        assert port_of(database) == first_port()
        database.close()


def test_silent_between_statements() -> None:
    from core.db.mariadb import base

    with tcp_switch(first_port()) as switch:
        database = connect(switch.port, first_port())
        assert port_of(database) == first_port()
        database.connection.answered = 0
        switch.swallow()
        with soon():
            assert not database.is_usable()
        # A new connection does not wait for it either.
        assert base._avoided.keys() == {("127.0.0.1", str(switch.port))}
        database.close_if_unusable_or_obsolete()
        with soon():
            assert port_of(database) == first_port()
        database.close()


@pytest.mark.parametrize("others_pass", [False, True])
def test_silent_to_a_statement_within_a_transaction(switch: TcpSwitch, others_pass: bool) -> None:
    def act() -> None:
        with transaction.atomic(using=ALIAS):
            Group.objects.using(ALIAS).create(name="lost")
            WORK.stored = False
            switch.swallow()
            if others_pass:
                # The server then says itself that it does not work on the statement.
                switch.forget()
            Group.objects.using(ALIAS).exists()

    assert lost(act)
    # It may be begun again: nothing of it is stored.
    assert not WORK.stored
    assert not Group.objects.exists()


def test_a_commit_without_an_answer_may_have_stored_it(switch: TcpSwitch) -> None:
    def act() -> None:
        with transaction.atomic(using=ALIAS):
            Group.objects.using(ALIAS).create(name="stored")
            WORK.stored = False
            switch.mute()

    assert lost(act)
    assert WORK.stored
    assert Group.objects.filter(name="stored").exists()


def test_rows_that_stop_coming(switch: TcpSwitch) -> None:
    from core.db.mariadb.waiting import StreamingCursor

    def act() -> None:
        connections[ALIAS].ensure_connection()
        with connections[ALIAS].wrap_database_errors:
            cursor = connections[ALIAS].connection.cursor(StreamingCursor)
            cursor.execute("SELECT REPEAT('a', 1000) FROM seq_1_to_100000")
            cursor.fetchmany(10)
            switch.swallow()
            while cursor.fetchmany(1000):
                pass

    assert lost(act)


def test_a_long_statement_is_waited_for(switch: TcpSwitch) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT SLEEP(1.2)")
        assert cursor.fetchone() == (0,)
    assert connections[ALIAS].is_usable()


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_statement_may_take_longer_where_a_proxy_hides_who_works_on_it(
    switch: TcpSwitch, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    from core.db.mariadb import waiting

    monkeypatch.setattr(waiting, "_HIDDEN_SECONDS", seconds)

    def act() -> None:
        with connections[ALIAS].cursor() as cursor:
            connections[ALIAS].connection._thread = 0
            cursor.execute("SELECT SLEEP(1.5)")

    if seconds:
        act()
    else:
        assert lost(act)


def test_statements_of_others_need_be_no_text(switch: TcpSwitch) -> None:
    from core.db.mariadb.waiting import WatchedConnection

    connections[ALIAS].ensure_connection()
    own = connections[ALIAS].connection

    def work() -> None:
        with WatchedConnection(**own.opened_with) as other:
            other.query(b"SELECT SLEEP(1), _binary'\xca'")
            other.store_result()

    with ThreadPoolExecutor() as others:
        working = others.submit(work)
        while not working.done():
            assert own._is_worked_on() is False
        working.result()


def test_the_kernel_looks_for_a_silent_peer() -> None:
    connection.ensure_connection()
    with connection.connection.handle() as handle:
        found = [
            handle.getsockopt(level, each)
            for level, each in (
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            )
        ]
    assert found == [1, 3, 6000]
