"""The database takes what it is sent and answers nothing: probes are answered in time, and nothing is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keeper_project.tests.processes.test_stopping import until
from tests.processes import begin_on, database
from tests.served import Served, keeper
from tests.servers.tcp_switch import tcp_switch

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


# Without the mark there is no database to copy where this file is run alone.
@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_probes_are_answered_while_it_hangs(tmp_path: Path, database: str) -> None:
    url = urlsplit(database)
    if not url.port:
        pytest.skip("SQLite has no server that could hang")
    data = tmp_path / "var"
    begin_on(None, data)
    with tcp_switch(url.port) as line:
        turned = url._replace(netloc=f"{url.username}@127.0.0.1:{line.port}").geturl()
        with keeper(data, "--no-worker", database=turned) as served:
            # The very first probe finds it hanging.
            line.swallow()
            for _ in range(5):
                assert timed(served, "/healthz")[0] == HTTPStatus.OK
                assert timed(served, "/readyz")[0] == HTTPStatus.SERVICE_UNAVAILABLE
                status, body = timed(served, "/metrics")
                assert status == HTTPStatus.OK
                assert b"\nkeeper_database_up 0.0" in body
                assert b"\n# TYPE keeper_audit_append_seconds" in body
            line.turn(url.port)
            until(lambda: served.get("/readyz")[0] == HTTPStatus.OK, "/readyz does not come back")
            until(
                lambda: b"\nkeeper_database_up 1.0" in served.get("/metrics")[1],
                "/metrics does not come back",
            )


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_it_stops_in_time_while_it_hangs(tmp_path: Path, database: str) -> None:
    url = urlsplit(database)
    if not url.port:
        pytest.skip("SQLite has no server that could hang")
    data = tmp_path / "var"
    begin_on(None, data)
    with tcp_switch(url.port) as line:
        turned = url._replace(netloc=f"{url.username}@127.0.0.1:{line.port}").geturl()
        with keeper(data, database=turned) as served, ThreadPoolExecutor() as clients:
            until(lambda: served.get("/readyz")[0] == HTTPStatus.OK, "/readyz is never well")
            line.swallow()
            asked = clients.submit(served.get, "/api/environments", "kpr_none")
            time.sleep(1)
            began = time.monotonic()
            assert served.stop() == 0
            assert time.monotonic() - began < STOP_SECONDS
            assert asked.result()[0] == HTTPStatus.SERVICE_UNAVAILABLE
