"""Children that end are started again after a growing wait, and all of them stop together."""

import ctypes
import gc
import itertools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar, cast

import pytest

from keeper_project.runtime import supervisor as runtime_supervisor
from keeper_project.runtime.supervisor import Child, Incident, run_apart, supervise
from operations_app.health import processes
from tests.processes import alive

ROOT = Path(__file__).resolve().parents[3]
# How long something takes says something of the machine: a busy one is no fault.
PATIENCE_SECONDS = 90
# What nobody ends lasts longer than anybody waits for its end.
LIFE_SECONDS = 600
PR_GET_DUMPABLE = 3
Answer = TypeVar("Answer")


def sleeper(marker: Path, *, deaf: bool = False) -> Child:
    """Return a child that says when it runs, and when it was asked to end."""

    def end(*_: object) -> None:
        if not deaf:
            marker.write_text("ended")
            sys.exit()

    def run() -> None:
        signal.signal(signal.SIGTERM, end)
        marker.write_text(str(os.getpid()))
        time.sleep(LIFE_SECONDS)

    return Child(marker.name, run)


def after(marker: Path, act: Callable[[], object]) -> Child:
    """Return a child that waits for another one, and then does something."""

    def run() -> None:
        wait_for(marker)
        act()

    return Child("short one", run, required=True)


def wait_for(marker: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (marker.exists() and marker.read_text()):
        assert time.monotonic() < deadline, f"{marker.name} never came"
        time.sleep(0.02)
    return marker.read_text()


def alone(act: Callable[[], Answer]) -> Answer:
    """Run it in a child, which has one thread only, and return what it returned.

    A signal for a process goes to any thread that does not block it: the one by which pytest's workers
    talk would take those that the supervisor waits for, and end.
    """
    answers, answer = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: answer.send(act()))
    process.start()
    answer.close()
    try:
        assert answers.poll(PATIENCE_SECONDS), "it never answered"
        return cast("Answer", answers.recv())
    finally:
        process.kill()
        process.join()


def supervised(children: list[Child], *, report: Callable[[Incident], object] | None = None) -> str:
    return alone(lambda: supervise(children, report=report))


def test_it_ends_the_others_when_a_required_one_never_begins(tmp_path: Path) -> None:
    marker = tmp_path / "other"
    reason = supervised([sleeper(marker), after(marker, lambda: sys.exit(3))])
    assert reason == "The short one ended with exit code 3."
    assert marker.read_text() == "ended"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has prctl(2)")
def test_no_core_dump_is_written_of_a_child(tmp_path: Path) -> None:
    """Neither to a file, nor to a program, which the limit alone does not stop (core(5))."""
    found = tmp_path / "found"

    def run() -> None:
        found.write_text(f"{resource.getrlimit(resource.RLIMIT_CORE)} {prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)}")
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(LIFE_SECONDS)

    prctl = ctypes.CDLL(None).prctl
    assert supervised([Child("dumped", run)]) == ""
    assert found.read_text() == "(0, 0) 0"


def asks_to_stop(marker: Path, times: int) -> Child:
    """Return a child that notes each start, fails, and at its last start asks the supervisor to stop."""

    def run() -> None:
        with marker.open("a") as starts:
            starts.write(f"{time.monotonic()}\n")
        if len(marker.read_text().splitlines()) == times:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(LIFE_SECONDS)
        sys.exit(5)

    return Child("failing one", run)


def test_it_starts_one_that_ends_again_after_a_doubled_wait_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime_supervisor, "FIRST_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(runtime_supervisor, "LONGEST_WAIT_SECONDS", 0.8)
    starts, other = tmp_path / "starts", tmp_path / "other"
    children = [asks_to_stop(starts, 5), sleeper(other)]
    assert alone(lambda: (supervise(children), len(caplog.messages))) == ("", 4)
    times = [float(line) for line in starts.read_text().splitlines()]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, (0.2, 0.4, 0.8, 0.8), strict=True)), waits
    # Asked to end once, with all the rest.
    assert other.read_text() == "ended"


def test_one_that_was_ready_once_is_started_again_though_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_supervisor, "FIRST_WAIT_SECONDS", 0.01)
    starts = asks_to_stop(tmp_path / "starts", 3)

    def run() -> None:
        processes.note_ready("served")
        starts.run()

    assert supervised([Child("served", run, required=True)]) == ""
    assert len((tmp_path / "starts").read_text().splitlines()) == 3


def test_each_end_is_reported_by_another_process_and_then_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_supervisor, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(runtime_supervisor, "STEADY_SECONDS", 0.5)
    told, once = tmp_path / "told", tmp_path / "once"
    fork = runtime_supervisor._fork

    def forked(run: Callable[[], None], name: str) -> BaseProcess:
        process = fork(run, name)
        if name == "report":
            # It is to see what it reports, and not what became of it by the time that it runs.
            process.join()
        return process

    monkeypatch.setattr(runtime_supervisor, "_fork", forked)

    def run() -> None:
        if not once.exists():
            once.touch()
            sys.exit(5)
        time.sleep(LIFE_SECONDS)

    def report(incident: Incident) -> None:
        with told.open("a") as lines:
            lines.write(f"{incident.exit_code} {incident.failures} {processes.process_problems()}\n")
        if incident.exit_code is None:
            os.kill(os.getppid(), signal.SIGTERM)

    assert supervised([Child("failing one", run)], report=report) == ""
    first, second = told.read_text().splitlines()
    assert first.startswith("5 1 ['the failing one ended with exit code 5 and ")
    assert second == "None 0 []"


def test_a_report_that_fails_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_supervisor, "FIRST_WAIT_SECONDS", 0.01)

    def report(_incident: Incident) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    assert supervised([asks_to_stop(tmp_path / "starts", 3)], report=report) == ""


def test_it_kills_what_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_supervisor, "STOP_SECONDS", 0.3)
    marker = tmp_path / "deaf"
    supervised([sleeper(marker, deaf=True), after(marker, sys.exit)])
    assert not alive(int(marker.read_text()))


def test_what_a_killed_child_started_ends_with_it(tmp_path: Path) -> None:
    grandchild = tmp_path / "grandchild"

    def run() -> None:
        if os.fork() == 0:
            grandchild.write_text(str(os.getpid()))
            time.sleep(LIFE_SECONDS)
        wait_for(grandchild)
        os.kill(os.getpid(), signal.SIGKILL)

    assert supervised([Child("killed one", run, required=True)]) == "The killed one was killed by signal 9."
    until_gone(int(grandchild.read_text()))


def test_what_a_killed_child_started_ends_though_its_exit_code_was_taken_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, grandchild = tmp_path / "leader", tmp_path / "grandchild"

    def run() -> None:
        if os.fork() == 0:
            grandchild.write_text(str(os.getpid()))
            time.sleep(LIFE_SECONDS)
        leader.write_text(str(os.getpid()))
        time.sleep(LIFE_SECONDS)

    monkeypatch.setattr(processes, "_states", {})
    processes.share_states(["killed one"])
    kept = runtime_supervisor._Kept(Child("killed one", run))
    with runtime_supervisor._signals_held():
        supervisor = runtime_supervisor._Supervisor([], None, [kept])
        supervisor._start(kept)
        pid = int(wait_for(grandchild))
        os.kill(int(wait_for(leader)), signal.SIGKILL)
        os.waitid(os.P_PID, int(leader.read_text()), os.WEXITED | os.WNOWAIT)
        # The start of a process takes the exit codes of all that ended.
        assert runtime_supervisor.run_apart(lambda: None) == 0
        supervisor._take_ended()
    assert supervisor.kept[0].process is None
    try:
        until_gone(pid)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


ADOPTS = """
import ctypes, os, pathlib, sys
from keeper_project.runtime.supervisor import Child, supervise
from keeper_project.tests.runtime.test_supervisor import wait_for
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: as the first process of a container
orphan, goes_on = map(pathlib.Path, sys.argv[1:])
def run():
    if os.fork() == 0:
        if os.fork() == 0:
            orphan.write_text(str(os.getpid()))
            os._exit(0)
        os._exit(0)
    os.wait()
    # It is gone once the supervisor has taken its exit code.
    while os.path.exists("/proc/" + wait_for(orphan)): pass
    goes_on.write_text("yes")
    sys.exit(7)
print(supervise([Child("one", run, required=True)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux gives orphans to others than the first process")
def test_an_orphan_of_others_that_ends_ends_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADOPTS, str(tmp_path / "orphan"), str(tmp_path / "goes on")],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.stdout.strip() == "The one ended with exit code 7."
    assert (tmp_path / "goes on").read_text() == "yes"


def test_what_is_run_apart_leaves_nothing_but_its_exit_code(tmp_path: Path) -> None:
    held: list[object] = []
    assert run_apart(lambda: held.append((tmp_path / "done").write_text("yes") and "here")) == 0
    assert (tmp_path / "done").read_text() == "yes"
    assert held == []
    assert run_apart(lambda: sys.exit(4)) == 4


def test_it_gives_its_signals_back() -> None:
    def held() -> tuple[object, object]:
        return signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGTERM)

    def before_and_after() -> tuple[object, object]:
        before = held()
        supervise([Child("short one", lambda: None, required=True)])
        return before, held()

    before, after_it = alone(before_and_after)
    assert before == after_it


def test_its_children_collect_garbage_again() -> None:
    def collects() -> str:
        gc.disable()
        return supervise([Child("short one", lambda: sys.exit(gc.isenabled()), required=True)])

    assert "exit code 1" in alone(collects)


# --- A supervisor in a process of its own ----------------------------------------------------

SUPERVISOR = """
import pathlib, sys
from keeper_project.tests.runtime.test_supervisor import sleeper, supervise
reason = supervise([sleeper(pathlib.Path(path)) for path in sys.argv[1:]])
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
    assert supervisor.wait(PATIENCE_SECONDS) == 0
    assert [(tmp_path / name).read_text() for name in ("one", "two")] == ["ended", "ended"]


IMPATIENT = """
import os, signal
from keeper_project.runtime.supervisor import Child, supervise
from keeper_project.tests.runtime.test_supervisor import time
def first():
    # As soon as it lives, which is before the supervisor has begun the second one.
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(600)
before = os.fork
def fork():
    pid = before()
    if pid:
        time.sleep(0.5)
    return pid
os.fork = fork
print(repr(supervise([Child("first", first), Child("second", lambda: time.sleep(600))])))
"""


def test_a_signal_while_children_start_ends_all_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.stdout.strip() == "''"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells children")
def test_children_end_when_the_supervisor_is_killed(
    supervisor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    pids = [int(wait_for(tmp_path / name)) for name in ("one", "two")]
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
