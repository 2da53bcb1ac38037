"""Nothing secret is where others look: command lines, other environments, logs, files, debug output."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.canary import encodings

from kpr.__main__ import main
from kpr.errors import Exit
from kpr.tests.conftest import CANARY, Inside, Kpr, Server, signed_out

# The fixture `schema` needs the migrated database.
pytestmark = pytest.mark.django_db

WAIT = "import sys, time; print('ready', flush=True); time.sleep(60)"


def stands_in(content: bytes, *secrets: str) -> list[str]:
    return [name for secret in secrets for name, found in encodings(secret).items() if found in content]


def test_a_running_command_shows_nothing_but_in_its_own_environment(kpr: Kpr, server: Server) -> None:
    options = ("--prefix", "app", "--file", "KEY=app/db-url", "--debug")
    with subprocess.Popen(
        kpr.command("run", *options, "--", sys.executable, "-c", WAIT),
        env=kpr.variables,
        cwd=kpr.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"ready\n"
        process_folder = Path(f"/proc/{process.pid}")
        seen = process_folder.joinpath("cmdline").read_bytes()
        seen += b"".join(os.fsencode(link.readlink()) for link in process_folder.joinpath("fd").iterdir())
        assert server.reader.encode() not in process_folder.joinpath("environ").read_bytes()
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
    assert b"kpr: GET /api/environments/development/export 200" in told
    assert stands_in(seen + told, CANARY, server.reader) == []


def test_a_masking_kpr_shows_no_value_and_its_command_no_token(kpr: Kpr, server: Server) -> None:
    command = kpr.command("run", "--prefix", "app", "--mask", "--", sys.executable, "-c", WAIT)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=kpr.variables, cwd=kpr.home, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        own = Path(f"/proc/{process.pid}")
        (child,) = own.joinpath(f"task/{process.pid}/children").read_text().split()
        seen = own.joinpath("cmdline").read_bytes() + own.joinpath("environ").read_bytes()
        seen += Path(f"/proc/{child}/cmdline").read_bytes()
        assert server.reader.encode() not in Path(f"/proc/{child}/environ").read_bytes()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert stands_in(seen + told, CANARY) == []


def test_nothing_is_left_in_files(tmp_path: Path, server: Server) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kpr = signed_out(tmp_path, {"KPR_SERVER": server.url, "TMPDIR": str(scratch)})
    assert kpr("login", "--token", input=server.reader).returncode == 0
    folder = ("--file", "KEY=app/db-url", "--file-dir", str(scratch), "--allow-disk")
    assert kpr.run("true", options=("--prefix", "app", *folder)).returncode == 0
    assert kpr.run("true", options=("--prefix", "clash", *folder)).returncode != 0
    assert kpr("get", "app/db-url", "--debug").returncode == 0
    assert list(scratch.iterdir()) == []
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        assert stands_in(path.read_bytes(), CANARY) == [], path
        assert path.name == "credentials.json" or stands_in(path.read_bytes(), server.reader) == [], path


def test_the_server_logs_neither_value_nor_token(kpr: Kpr, server: Server) -> None:
    assert kpr.run("true", options=("--prefix", "app")).returncode == 0
    logs = [server.log, *(server.data / "logs").glob("*")]
    assert server.log.stat().st_size > 0
    for path in logs:
        assert stands_in(path.read_bytes(), CANARY, server.reader[-43:]) == [], path


def test_a_refused_value_is_not_in_the_message(kpr: Kpr) -> None:
    done = kpr.run("true", options=("--prefix", "huge"))
    assert done.returncode == Exit.NOT_EXECUTABLE
    assert b"yyyy" not in done.stderr
    assert done.stdout == b""


def test_a_crash_reports_its_place_and_no_value(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_: object) -> str:
        value = CANARY
        raise ValueError(value)

    monkeypatch.setattr("kpr.commands.find_value", crash)
    for options in ((), ("--debug",), ("--format", "json")):
        assert main(["get", "app/key", *options]) == Exit.OWN_FAILURE
        told = capsys.readouterr()
        assert f"ValueError at {__name__}:" in told.err
        assert len(told.err.splitlines()) == 1
        assert CANARY not in told.out + told.err


def test_no_command_that_holds_values_leaves_a_core_dump(inside: Inside) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        for arguments in (["list"], ["export"], ["get", "app/absent"]):
            resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
            main(arguments)
            assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0, arguments
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


# What each of these costs is a part of the 150 ms that `kpr run` may take.
SLOW = {
    *(
        "asyncio",
        "cryptography",
        "http.server",
        "keyring",
        "pty",
        "random",
        "subprocess",
        "tempfile",
    ),
    *("urllib.request", "webbrowser", "kpr.running.offline", "kpr.running.streams", "kpr.commands"),
}
LOADED = """
import sys
import kpr.running.run
from kpr.__main__ import main
from kpr.api import Answer, Api
Api._try = lambda *args, **more: Answer(200, {}, b"{}")
kpr.running.run.execute = lambda *args: sys.exit(" ".join(sys.modules))
main(["run", "--", "true"])
"""


def test_a_run_loads_nothing_slow_that_it_does_not_need(tmp_path: Path) -> None:
    token = f"kpr_{'a' * 22}_{'b' * 43}"
    variables = signed_out(tmp_path, {"KPR_SERVER": "http://127.0.0.1:1", "KPR_TOKEN": token}).variables
    done = subprocess.run(
        # Without the packages of this installation, which load others at the start.
        [sys.executable, "-S", "-c", LOADED],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    loaded = done.stderr.decode().split()
    assert "kpr.running.process" in loaded, done.stderr
    assert SLOW & set(loaded) == set()


def test_a_run_makes_one_request(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    class Replaced(Exception):
        pass

    def execute(command: list[str], variables: dict[bytes, bytes], _: object) -> None:
        # What `exec` gets: the command alone, without a value or a token.
        assert command == ["serve", "--now"]
        assert b"KPR_TOKEN" not in variables
        raise Replaced

    monkeypatch.setattr("kpr.running.run.execute", execute)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    assert main(["run", "--", "serve", "--now"]) == Exit.OWN_FAILURE
    resource.setrlimit(resource.RLIMIT_CORE, before)
    assert inside.asked == ["GET /api/environments/development/export?format=json"]
