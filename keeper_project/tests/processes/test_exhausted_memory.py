"""A task that takes all memory ends neither the site nor its own work, in the real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper_project.tests.processes import exhausting
from keeper_project.tests.processes.test_slow_systems import prepare, rows, status, until
from keeper_project.tests.processes.test_stopping import parts
from tests.served import Served, keeper

# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEEPER_OUTBOUND_ALLOWED", "127.0.0.0/8")
    monkeypatch.setenv(exhausting.FOLDER, str(tmp_path))
    return tmp_path / "var"


@pytest.fixture
def served(data: Path, schema: Path | None) -> Iterator[Served]:
    with keeper(data, module="keeper_project.tests.processes.exhausting", schema=schema) as running:
        until(lambda: status(running) == "ok")
        yield running


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed by the kernel", "MemoryError"])
def test_the_site_stays_up_and_the_run_is_carried_on(
    served: Served, data: Path, tmp_path: Path, *, is_killed: bool
) -> None:
    if is_killed:
        (tmp_path / exhausting.KILLED).touch()
    before = parts(served.process.pid)
    prepare(data, {"answers": None, "hostile": NOWHERE, "number": 1})
    until((tmp_path / exhausting.BEGAN).exists)
    beats = (data / "heartbeat").stat().st_mtime

    def is_done() -> bool:
        assert served.get("/healthz")[0] == 200
        return bool(rows(data, "SELECT 1 FROM sync_app_run WHERE state = 'done'"))

    # Once the lease of whoever died has run out, another thread or process claims the run.
    until(is_done)
    assert rows(data, "SELECT attempts, epoch FROM sync_app_run ORDER BY created_at LIMIT 1") == [(2, 2)]
    until(lambda: (data / "heartbeat").stat().st_mtime > beats)
    after = parts(served.process.pid)
    assert after["web server"] == before["web server"]
    log = (data / "logs" / "keeper.log").read_text()
    assert after["worker"] != before["worker"]
    if is_killed:
        assert "the worker was killed by signal 9" in log
    else:
        # Written by the process above it: one without memory may have none left for a line of its own.
        assert "the worker ended with exit code" in log
    assert served.stop() == 0
