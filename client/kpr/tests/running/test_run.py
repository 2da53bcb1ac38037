"""The torture table of `kpr run`: the command behaves as if nothing were between it and its caller."""

import hashlib
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kpr.api import Answer
from kpr.errors import Exit
from kpr.running.run import _secrets_of as secrets_of
from kpr.tests.conftest import CANARY, MULTILINE, Kpr, Server

# The fixture `schema` needs the migrated database.
pytestmark = pytest.mark.django_db

APP = ("--prefix", "app")
PRINT_ENV = "import json, os; print(json.dumps(dict(os.environ)))"
# It tells that it is ready, then by what it was reached, twice if it was twice.
WAITS = """
import os, signal, time
seen = []
def reached(number, frame):
    seen.append(number); os.write(1, signal.Signals(number).name.encode() + b"\\n")
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGUSR1"):
    signal.signal(getattr(signal, name), reached)
os.write(1, b"%d\\n" % os.getpid())
while not seen:
    time.sleep(0.05)
time.sleep(0.3)
os._exit(40 + seen[0])
"""


def env_of(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_secrets_are_variables_of_the_command(kpr: Kpr) -> None:
    found = env_of(kpr.run(sys.executable, "-c", PRINT_ENV, options=APP))
    assert found["APP_DB_URL"] == CANARY
    assert found["APP_TLS_KEY"] == MULTILINE
    assert found["APP_PLAIN"] == "plain value"
    assert found["HOME"] == str(kpr.home)
    assert "KPR_TOKEN" not in found


def test_guarded_secrets_that_are_left_out_are_read_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    secrets_of(Answer(200, {"keeper-left-out": "8"}, b"{}"))
    said = capsys.readouterr().err
    assert said.startswith("kpr: 8 guarded secrets are left out")
    assert "a released program one by one, by kpr get or --only" in said


# Each child becomes `sh` by the whole of `kpr run`, but for the network.
ALL_CODES = """
import os
import kpr.running.run
from kpr.__main__ import main
from kpr.api import Answer, Api
Api._try = lambda *args, **more: Answer(200, {}, b"{}")
found = []
for code in range(256):
    child = os.fork()
    if child == 0:
        os._exit(main(["run", "--", "sh", "-c", f"exit {code}"]))
    found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(found)
"""


def test_every_exit_code_is_that_of_the_command(kpr: Kpr) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_CODES], env=kpr.variables, cwd=kpr.home, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == list(range(256)), done.stderr
    assert kpr.run("sh", "-c", "exit 42", options=APP).returncode == 42


def begin(kpr: Kpr, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        kpr.command("run", *arguments), env=kpr.variables, cwd=kpr.home, stdout=subprocess.PIPE, **more
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGUSR1"])
def test_a_signal_reaches_the_command_once_and_directly(kpr: Kpr, name: str) -> None:
    number = getattr(signal, name)
    with begin(kpr, *APP, "--", sys.executable, "-c", WAITS) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(number)
        assert process.stdout.read().decode().split() == [name]
    assert process.returncode == 40 + number


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV"])
def test_a_death_by_signal_is_seen_as_one(kpr: Kpr, name: str) -> None:
    number = getattr(signal, name)
    assert kpr.run("sh", "-c", f"kill -{number} $$", options=APP).returncode == -number


def test_the_command_keeps_the_terminal(kpr: Kpr) -> None:
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - the child becomes kpr
        os.chdir(kpr.home)
        tells = "import sys; print([s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)], input())"
        arguments = kpr.command("run", *APP, "--", sys.executable, "-c", tells)
        os.execvpe(arguments[0], arguments, kpr.variables)
    os.write(terminal, b"typed\n")
    told = b""
    try:
        while chunk := os.read(terminal, 4096):
            told += chunk
    except OSError:
        pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, told
    assert b"[True, True, True] typed" in told


def test_a_closed_pipe_ends_the_command_as_it_does_without_kpr(kpr: Kpr) -> None:
    with begin(kpr, *APP, "--", "yes") as process:
        assert process.stdout
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        process.wait(30)
    assert process.returncode == -signal.SIGPIPE


def test_ten_megabytes_arrive_whole_both_ways(kpr: Kpr) -> None:
    content = os.urandom(10_000_000)
    done = kpr.run("cat", options=APP, input=content)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest()


def test_a_command_that_forks_does_not_hold_its_caller(kpr: Kpr) -> None:
    done = kpr.run("sh", "-c", "sleep 600 >/dev/null 2>&1 </dev/null & echo $!", options=APP)
    assert done.returncode == 0
    # It is still there.
    os.kill(int(done.stdout), signal.SIGTERM)


def test_the_command_gets_nothing_of_kpr_but_its_variables(kpr: Kpr) -> None:
    tells = (
        "import json, os, resource, signal; "
        "print(json.dumps({'open': sorted(os.listdir('/proc/self/fd'))[:-1], "
        "'core': resource.getrlimit(resource.RLIMIT_CORE), "
        "'status': open('/proc/self/status').read()}))"
    )
    # Python itself ignores SIGPIPE and SIGXFSZ, so a shell looks at what it was given.
    found = env_of(kpr.run(sys.executable, "-c", tells, options=APP))
    assert found["open"] == ["0", "1", "2"]
    assert found["core"] == list(resource.getrlimit(resource.RLIMIT_CORE))
    status = kpr.run("grep", "Sig[IB]", "/proc/self/status", options=APP).stdout.decode()
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines()}
    # Under nohup, or in the background, a signal is ignored by all that is started.
    of_python = sum(1 << each - 1 for each in (signal.SIGPIPE, signal.SIGXFSZ))
    (own,) = re.findall(r"SigIgn:\s*([0-9a-f]+)", Path("/proc/self/status").read_text())
    assert masks == {"SigBlk": 0, "SigIgn": int(own, 16) & ~of_python}


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (None, 0, Exit.NO_COMMAND),
        ("#!/bin/sh\n", 0o600, Exit.NOT_EXECUTABLE),
        ("no program\n", 0o700, Exit.NOT_EXECUTABLE),
        ("#!/no/such/interpreter\n", 0o700, Exit.NO_COMMAND),
    ],
)
def test_what_cannot_be_run_is_told_as_a_shell_does(
    kpr: Kpr, content: str | None, mode: int, code: Exit
) -> None:
    path = kpr.home / "command"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    # For root a file without any x bit is no program either.
    done = kpr.run(str(path), options=APP)
    assert done.returncode == code
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"kpr: {path} ")


def test_a_thousand_variables_arrive(kpr: Kpr) -> None:
    found = env_of(kpr.run(sys.executable, "-c", PRINT_ENV, options=("--prefix", "many")))
    assert {f"MANY_VALUE_{number:04}" for number in range(1000)} <= found.keys()
    assert found["MANY_VALUE_0999"] == "999 of many"


def test_a_large_value_fits_a_variable_and_a_file(kpr: Kpr) -> None:
    tells = "import os; print(len(os.environ['LARGE_ONE']), len(open(os.environ['COPY']).read()))"
    large = ("--prefix", "large", "--file", "COPY=app/tls/key")
    done = kpr.run(sys.executable, "-c", tells, options=large)
    assert (done.returncode, done.stdout.split()) == (0, [b"60000", b"%d" % len(MULTILINE)]), done.stderr


def test_more_than_the_kernel_takes_in_all_is_told(kpr: Kpr) -> None:
    done = kpr.run("true", options=("--prefix", "huge"))
    assert done.returncode == Exit.NOT_EXECUTABLE
    assert b"larger than the kernel takes" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="a namespace of processes needs root")
def test_as_first_process_of_a_container_the_command_is_the_first(kpr: Kpr) -> None:
    command = kpr.command("run", *APP, "--", sys.executable, "-c", WAITS)
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--", *command],
        env=kpr.variables,
        cwd=kpr.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        if not line and b"unshare:" in (told := process.stderr.read()):
            pytest.skip(f"this machine allows no namespaces: {told.decode()}")
        assert line == b"1\n"
        (inner,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inner), signal.SIGTERM)
        assert process.stdout.read() == b"SIGTERM\n"
    assert process.returncode == 40 + signal.SIGTERM


# --- Names ---------------------------------------------------------------------------------------


def test_two_secrets_for_one_variable_are_refused(kpr: Kpr) -> None:
    done = kpr.run("true", options=("--prefix", "clash"))
    assert done.returncode == Exit.OWN_FAILURE
    assert done.stderr == (b"kpr: clash/a-b and clash/a_b would both be CLASH_A_B: use --only or --prefix.\n")


@pytest.mark.parametrize(("only", "variable"), [("loader/ld_preload", "LD_PRELOAD"), ("loader/path", "PATH")])
def test_a_secret_does_not_decide_what_a_program_loads(kpr: Kpr, only: str, variable: str) -> None:
    named = ("--prefix", "loader", "--only", only, "--strip-prefix")
    done = kpr.run("true", options=named)
    assert done.returncode == Exit.OWN_FAILURE
    assert variable.encode() in done.stderr
    allowed = kpr.run("/bin/true", options=(*named, "--allow-loader-variables"))
    assert allowed.returncode == 0


def test_only_reads_what_it_names(kpr: Kpr) -> None:
    found = env_of(kpr.run(sys.executable, "-c", PRINT_ENV, options=("--only", "app/plain")))
    assert found["APP_PLAIN"] == "plain value"
    assert "APP_DB_URL" not in found
    lost = kpr.run("true", options=("--only", "app/absent"))
    assert (lost.returncode, lost.stdout) == (Exit.OWN_FAILURE, b"")


@pytest.mark.parametrize(
    ("options", "expected", "code"),
    [
        ((), "plain value", 0),
        (("--preserve-env",), "mine", 0),
        (("--strict",), "", Exit.OWN_FAILURE),
        (("--pristine",), "plain value", 0),
    ],
)
def test_a_variable_that_is_set_already_is_told(
    kpr: Kpr, options: tuple[str, ...], expected: str, code: int
) -> None:
    done = kpr.run(
        "/bin/sh",
        "-c",
        'printf %s "$APP_PLAIN"',
        options=(*APP, *options),
        env={"APP_PLAIN": "mine"},
    )
    assert (done.returncode, done.stdout.decode()) == (code, expected)
    assert (b"APP_PLAIN" in done.stderr) == (options != ("--pristine",))


def test_what_the_project_requires_is_missed(kpr: Kpr, server: Server) -> None:
    (kpr.home / ".kpr.toml").write_text('prefix = "app"\nrequired = ["app/plain", "app/absent"]\n')
    lax = kpr.run("true")
    assert (lax.returncode, b"app/absent is required" in lax.stderr) == (0, True)
    assert kpr.run("true", options=("--strict",)).returncode == Exit.OWN_FAILURE
    # Who names what is read asks for no more than that.
    one = kpr.run("true", options=("--strict", "--only", "app/plain"))
    assert (one.returncode, one.stderr) == (0, b"")


# --- Files and supervision -----------------------------------------------------------------------


def test_a_file_lives_in_memory_and_its_children_read_it(kpr: Kpr) -> None:
    tells = (
        "import os, subprocess; path = os.environ['KEY']; "
        "print(subprocess.run(['cat', path], stdout=-1, text=True).stdout, end='')"
    )
    done = kpr.run(sys.executable, "-c", tells, options=("--only", "app/plain", "--file", "KEY=app/tls/key"))
    assert (done.returncode, done.stdout.decode()) == (0, MULTILINE), done.stderr


def test_a_file_in_a_folder_is_private_and_removed(kpr: Kpr) -> None:
    shm = "/dev/shm"
    options = ("--only", "app/plain", "--file", "KEY=app/tls/key", "--file-dir", shm)
    done = kpr.run(
        "sh", "-c", 'stat -c %a "$KEY" "$(dirname "$KEY")"; echo "$KEY"; kill -9 $$', options=options
    )
    assert done.returncode == 128 + 9, done.stderr
    mode, folder_mode, path = done.stdout.decode().split()
    assert (mode, folder_mode) == ("600", "700")
    assert not Path(path).parent.exists()


def test_a_file_on_a_disk_has_to_be_allowed(kpr: Kpr) -> None:
    options = ("--only", "app/plain", "--file", "KEY=app/tls/key", "--file-dir", "/proc")
    done = kpr.run("true", options=options)
    assert done.returncode == Exit.OWN_FAILURE
    assert b"--allow-disk" in done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGUSR1"])
def test_a_supervised_command_gets_each_signal_once(kpr: Kpr, name: str) -> None:
    number = getattr(signal, name)
    options = ("--only", "app/plain", "--file", "KEY=app/tls/key", "--file-dir", "/dev/shm")
    with begin(kpr, *options, "--", sys.executable, "-c", WAITS) as process:
        assert process.stdout
        assert int(process.stdout.readline()) != process.pid
        process.send_signal(number)
        assert process.stdout.read().decode().split() == [name]
    assert process.returncode == 40 + number
