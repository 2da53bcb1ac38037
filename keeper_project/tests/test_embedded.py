"""Children live and end together, whoever ends first."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper_project import embedded
from keeper_project.embedded import Child, supervise, web, worker

ROOT = Path(__file__).resolve().parent.parent.parent


def script(name: str, program: str) -> Child:
    return Child(name, [sys.executable, "-c", program])


def sleeper(marker: Path, *, deaf: bool = False) -> Child:
    """Return a child that says when it runs, and when it was asked to end."""
    ending = "" if deaf else f"pathlib.Path({str(marker)!r}).write_text('ended'); sys.exit()"
    return script(
        marker.name,
        f"""
import pathlib, signal, sys, time
def end(*_):
    {ending or "pass"}
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(marker)!r}).write_text(str(__import__('os').getpid()))
time.sleep(60)
time.sleep(60)
""",
    )


def wait_for(marker: Path) -> str:
    deadline = time.monotonic() + 20
    while not (marker.exists() and marker.read_text()):
        assert time.monotonic() < deadline, f"{marker.name} never came"
        time.sleep(0.02)
    return marker.read_text()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_it_ends_the_others_when_one_ends(tmp_path: Path) -> None:
    marker = tmp_path / "other"
    waits = (
        f"import pathlib, time\nwhile not pathlib.Path({str(marker)!r}).exists(): time.sleep(0.02)\nexit(3)"
    )
    reason = supervise([sleeper(marker), script("short one", waits)], environment=dict(os.environ))
    assert reason == "The short one ended with exit code 3."
    assert marker.read_text() == "ended"


def test_it_kills_what_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.3)
    marker = tmp_path / "deaf"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(marker)!r}).exists(): time.sleep(0.02)"
    supervise([sleeper(marker, deaf=True), script("short one", waits)], environment=dict(os.environ))
    assert not alive(int(marker.read_text()))


def test_it_gives_its_signal_handlers_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    supervise([script("short one", "")], environment=dict(os.environ))
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_gives_children_the_environment_it_is_given(tmp_path: Path) -> None:
    program = f"import os; open({str(tmp_path / 'seen')!r}, 'w').write(os.environ['KEEPER_SEEN'])"
    supervise([script("short one", program)], environment={**os.environ, "KEEPER_SEEN": "yes"})
    assert (tmp_path / "seen").read_text() == "yes"


# --- A supervisor in a process of its own ----------------------------------------------------

SUPERVISOR = """
import os, pathlib, sys
from keeper_project.tests.test_embedded import sleeper, supervise
reason = supervise([sleeper(pathlib.Path(path)) for path in sys.argv[1:]], environment=dict(os.environ))
sys.exit(reason or 0)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    markers = [str(tmp_path / "one"), str(tmp_path / "two")]
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, *markers],
        cwd=ROOT,
        env={**os.environ, "KEEPER_DATA_DIR": str(tmp_path)},
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_all_and_succeeds_when_asked_to(
    supervisor: subprocess.Popen[bytes], tmp_path: Path, number: int
) -> None:
    for name in ("one", "two"):
        wait_for(tmp_path / name)
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert [(tmp_path / name).read_text() for name in ("one", "two")] == ["ended", "ended"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells children")
def test_children_end_when_the_supervisor_is_killed(
    supervisor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    pids = [int(wait_for(tmp_path / name)) for name in ("one", "two")]
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_web_server_listens_where_it_is_told() -> None:
    command = " ".join(web(host="::1", port=8000, workers=2, threads=3).command)
    assert "granian --interface wsgi --host ::1 --port 8000 --workers 2 --blocking-threads 3" in command


def test_the_worker_has_threads_and_beat() -> None:
    command = " ".join(worker(threads=3, level="WARNING").command)
    assert "worker --pool threads --concurrency 3 --loglevel WARNING --beat" in command
