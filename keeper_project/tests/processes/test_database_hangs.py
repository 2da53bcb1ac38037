"""The database takes what it is sent and answers nothing: probes are answered in time, and nothing is lost."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keeper_project.tests.processes.test_stopping import took_all, until
from tests.processes import begin_on, database
from tests.served import Served, keeper
from tests.servers.tcp_switch import TcpSwitch, tcp_switch

__all__ = ["database"]
# What a probe takes at most is 5 s, and the rest is for a machine that does other work.
PROBE_SECONDS = 10.0


def timed(served: Served, path: str) -> tuple[int, bytes]:
    began = time.monotonic()
    status, body = served.get(path)
    assert time.monotonic() - began < PROBE_SECONDS, path
    return status, body


# What the chart grants a `keeper run` before it kills; here it takes about 25 s.
STOP_SECONDS = 60.0


@contextmanager
def serving(tmp_path: Path, database: str, *options: str) -> Iterator[tuple[Served, TcpSwitch]]:
    """Start a Keeper whose line to the database can be made to swallow what is sent."""
    url = urlsplit(database)
    if not url.port:
        pytest.skip("SQLite has no server that could hang")
    data = tmp_path / "var"
    begin_on(None, data)
    with tcp_switch(url.port) as line:
        turned = url._replace(netloc=f"{url.username}@127.0.0.1:{line.port}").geturl()
        with keeper(data, *options, database=turned) as served:
            yield served, line


# Without the mark there is no database to copy where this file is run alone.
@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_probes_are_answered_while_it_hangs(tmp_path: Path, database: str) -> None:
    with serving(tmp_path, database, "--no-worker") as (served, line):
        # The very first probe finds it hanging.
        line.swallow()
        for _ in range(5):
            assert timed(served, "/healthz")[0] == HTTPStatus.OK
            assert timed(served, "/readyz")[0] == HTTPStatus.SERVICE_UNAVAILABLE
            status, body = timed(served, "/metrics")
            assert status == HTTPStatus.OK
            assert b"\nkeeper_database_up 0.0" in body
            assert b"\n# TYPE keeper_audit_append_seconds" in body
        line.turn(urlsplit(database).port or 0)
        until(lambda: served.get("/readyz")[0] == HTTPStatus.OK, "/readyz does not come back")
        until(
            lambda: b"\nkeeper_database_up 1.0" in served.get("/metrics")[1],
            "/metrics does not come back",
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_it_stops_in_time_while_it_hangs(tmp_path: Path, database: str) -> None:
    with (
        serving(tmp_path, database) as (served, line),
        closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=STOP_SECONDS)) as connection,
    ):
        until(lambda: served.get("/readyz")[0] == HTTPStatus.OK, "/readyz is never well")
        line.swallow()
        connection.request("GET", "/api/environments", headers={"Authorization": "Bearer kpr_none"})
        client = connection.sock.getsockname()[1]
        until(lambda: took_all(served.port, client), "the server never took the request")
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < STOP_SECONDS
        assert connection.getresponse().status == HTTPStatus.SERVICE_UNAVAILABLE
