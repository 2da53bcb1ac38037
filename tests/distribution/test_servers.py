"""The runner starts real servers, tells where they are, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.servers.moto_in_turn import InTurn
from tests.servers.openbao import OpenBao
from tests.servers.redis import Redis
from tests.servers.server import START_SECONDS, MissingServer, ServerFailed, accepts, free_port

ROOT = Path(__file__).resolve().parents[2]
RUNNER = [
    sys.executable,
    "-m",
    "tests.servers",
    *(f"--without={name}" for name in ("mariadb", "postgresql", "moto")),
]


class Absent(Redis):
    """A server whose program nobody has."""

    name: ClassVar[str] = "absent"
    program: ClassVar[str] = "no-such-program"
    package: ClassVar[str] = "the package of nothing"


class Failing(Redis):
    """A server that ends at once."""

    name: ClassVar[str] = "failing"

    def command(self) -> list[str]:
        return [sys.executable, "-c", "print('cannot go on'); exit(1)"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_starts_and_stops(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    server.start()
    try:
        server.wait()
        assert server.ready()
        pid = server.pid
        assert pid is not None
    finally:
        server.stop()
    assert not alive(pid)
    assert not server.ready()


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    Redis(tmp_path).stop()


def test_a_missing_program_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        MissingServer, match=r"^no-such-program is not installed; it comes with the package of nothing$"
    ):
        Absent(tmp_path).start()


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    server = Failing(tmp_path)
    server.start()
    with pytest.raises(ServerFailed, match="failing ended while it started:\ncannot go on"):
        server.wait()


def test_ports_lie_below_those_that_the_system_gives_out() -> None:
    assert all(free_port() < 32768 for _ in range(20))


def test_no_two_servers_of_a_run_are_given_one_port() -> None:
    assert len({free_port() for _ in range(400)}) == 400


def test_no_port_is_given_to_two_processes_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [free_port() for _ in range(20)]
    program = f"""
from itertools import count
from tests.servers import server
server._places_of = lambda _, places=count(server.PORTS.index({own[0]})): places
print(*[server.free_port() for _ in range(20)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {*map(int, done.stdout.split())} & {*own}


def test_openbao_takes_secrets(tmp_path: Path) -> None:
    server = OpenBao(tmp_path)
    server.start()
    try:
        server.wait()
        assert server.environment()["KEEPER_TEST_OPENBAO_TOKEN"]
        assert "secret/data/ready" in (tmp_path / "openbao" / "audit.log").read_text()
    finally:
        server.stop()


def test_moto_is_asked_by_one_at_a_time() -> None:
    meet, met = threading.Barrier(2), []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            meet.wait(0.2)
            met.append(environ)
        except threading.BrokenBarrierError:
            meet.reset()
        return []

    in_turn = InTurn(application)
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(lambda _: in_turn({}, None), range(2))] == [[], []]
    assert met == []


# --- The runner in a process of its own ------------------------------------------------------


def test_it_runs_a_command_that_finds_the_servers_and_its_own_directory(tmp_path: Path) -> None:
    Redis(tmp_path)
    shown = "printenv KEEPER_TEST_REDIS_URL KEEPER_DATA_DIR DATABASE_URL AWS_ACCESS_KEY_ID; exit 7"
    environment = {**os.environ, "DATABASE_URL": "mysql://real.example", "AWS_ACCESS_KEY_ID": "real"}
    done = subprocess.run(
        [*RUNNER, "--", "sh", "-c", shown],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    redis, data, database, key = done.stdout.split()
    assert redis.startswith("redis://127.0.0.1:")
    assert database == f"sqlite:///{data}/keeper.db"
    assert key == "testing"
    assert not Path(data).parent.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_everything_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    Redis(tmp_path)
    note = tmp_path / "note"
    program = f"echo $$ $KEEPER_DATA_DIR $KEEPER_TEST_REDIS_URL >{note}; exec sleep 60"
    with subprocess.Popen([*RUNNER, "--", "sh", "-c", program], cwd=ROOT) as runner:
        try:
            command, data, redis = wait_for_words(note)
            port = int(redis.rpartition(":")[2].partition("/")[0])
            assert accepts(port)
            runner.send_signal(number)
            assert runner.wait(90) == 128 + number
        finally:
            runner.terminate()
    assert not alive(int(command))
    assert not accepts(port)
    assert not Path(data).parent.exists()


STOPPED_AS_IT_BEGINS = """
import os, signal, subprocess
from tests.servers import __main__ as runner

class Begun(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Begun
runner.stops.heed()
runner.run(["sleep", "60"], {})
"""


def test_a_stop_while_the_command_begins_ends_it_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_AS_IT_BEGINS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert not alive(int(done.stdout))


def wait_for_words(note: Path) -> list[str]:
    deadline = time.monotonic() + START_SECONDS
    while not (note.exists() and note.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return note.read_text().split()


def test_every_server_says_what_installs_it() -> None:
    from tests.servers.__main__ import SERVERS

    assert all(server.package for server in SERVERS.values())
