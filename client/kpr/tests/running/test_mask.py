"""`kpr run --mask` and `--agent-safe`: values do not pass, and the rest is as without them."""

import hashlib
import os
import pty
import shlex
import signal
import subprocess
import sys

import pytest

from kpr.errors import Exit, UsageError
from kpr.running.guard import refuse_dump
from kpr.tests.conftest import Kpr
from kpr.tests.running.test_run import APP, WAITS, begin

# The fixture `schema` needs the migrated database.
pytestmark = pytest.mark.django_db

MASKED = (*APP, "--mask")
# Its value comes in two writes, with a pause between that the reader of a pipe notices.
SPLIT = """
import base64, os, sys, time
value = os.environ["APP_DB_URL"].encode()
os.write(1, b"<" + value[:9]); time.sleep(0.3); os.write(1, value[9:] + b">")
os.write(2, open(os.environ["KEY"], "rb").read() + base64.b64encode(value))
sys.exit(7)
"""


def test_values_are_masked_and_the_exit_code_is_the_commands(kpr: Kpr) -> None:
    done = kpr.run(sys.executable, "-c", SPLIT, options=(*MASKED, "--file", "KEY=app/tls/key"))
    assert (done.returncode, done.stdout, done.stderr) == (7, b"<[masked]>", b"[masked][masked]")
    assert kpr.run("sh", "-c", "kill -9 $$", options=MASKED).returncode == 128 + 9
    missing = kpr.run("/no/such/command", options=MASKED)
    assert (missing.returncode, missing.stdout) == (Exit.NO_COMMAND, b"")


def test_ten_megabytes_pass_whole_in_their_order(kpr: Kpr) -> None:
    content = os.urandom(10_000_000)
    done = kpr.run("cat", options=MASKED, input=content)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest()
    both = subprocess.run(
        kpr.command("run", *MASKED, "--", "sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done"),
        env=kpr.variables, cwd=kpr.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True,
    )  # fmt: skip
    assert both.stdout.decode().split() == ["out1", "err1", "out2", "err2", "out3", "err3"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_each_signal_reaches_the_command_once(kpr: Kpr, name: str) -> None:
    number = getattr(signal, name)
    with begin(kpr, *MASKED, "--", sys.executable, "-c", WAITS) as process:
        assert process.stdout
        assert int(process.stdout.readline()) != process.pid
        process.send_signal(number)
        assert process.stdout.read().decode().split() == [name]
    assert process.returncode == 40 + number


def test_a_closed_pipe_and_a_child_that_stays_do_not_hold_it(kpr: Kpr) -> None:
    with begin(kpr, *MASKED, "--", "yes") as process:
        assert process.stdout
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        process.wait(60)
    assert process.returncode == 128 + signal.SIGPIPE
    done = kpr.run("sh", "-c", "sleep 300 & echo $!", options=MASKED)
    assert done.returncode == 0
    os.kill(int(done.stdout), signal.SIGTERM)


def test_the_command_keeps_a_terminal_and_its_size(kpr: Kpr) -> None:
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - the child becomes kpr
        os.chdir(kpr.home)
        shows = (
            "import os, sys; print([s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)], input()); "
            "print(os.get_terminal_size().columns, 'end', os.environ['APP_TLS_KEY'], end='.')"
        )
        arguments = kpr.command("run", *MASKED, "--", sys.executable, "-c", shows)
        subprocess.run(["stty", "cols", "77"], check=True)
        os.execvpe(arguments[0], arguments, kpr.variables)
    os.write(terminal, b"typed\n")
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert b"[True, True, True] typed\r\n77 end [masked]." in shown


# Its grandchild loses its parent; what has ended and is not reaped can still be reached by its number.
ORPHAN = """
import os, time
taken, given = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(given, b"%d" % os.getpid()); os._exit(0)
    os._exit(0)
os.wait()
orphan, deadline = int(os.read(taken, 20)), time.monotonic() + 60
while time.monotonic() < deadline:
    try:
        os.kill(orphan, 0)
    except ProcessLookupError:
        raise SystemExit(f"reaped by {os.getppid()}")
    time.sleep(0.02)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="a namespace of processes needs root")
def test_as_first_process_of_a_container_it_reaps_orphans(kpr: Kpr) -> None:
    command = kpr.command("run", *MASKED, "--", sys.executable, "-c", ORPHAN)
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--", *command],
        env=kpr.variables, cwd=kpr.home, capture_output=True, check=False,
    )  # fmt: skip
    if done.stderr.startswith(b"unshare:"):
        pytest.skip(f"this machine allows no namespaces: {done.stderr.decode()}")
    assert (done.returncode, done.stderr) == (1, b"reaped by 1\n")


def test_a_short_value_is_reported(kpr: Kpr) -> None:
    done = kpr.run("true", options=("--only", "clash/a-b", "--mask"))
    assert done.stderr == b"kpr: clash/a-b has fewer than 4 bytes and is not masked\n"


# --- Under an assistant --------------------------------------------------------------------------

DUMPS = (
    "env", "/usr/bin/env -0", "env A=1", "env A=1 printenv", "printenv", "sh -c env", "bash -lc 'cd /; set | sort'", "sh -c 'x=$(env); echo $x'",
    "bash -c 'export -p'", "bash -c 'declare -px'", "cat /proc/self/environ", "sh -c 'tr x y </proc/$$/environ'",
    "python -c 'import os; print(os.environ)'", "node -e 'console.log(process.env)'", "perl -e 'print %ENV'", "sh -c 'true; sh -c env'",
    "sh -c 'true\nenv'",
)  # fmt: skip
COMMANDS = (
    "pytest -q", "env A=1 ./serve", "printenv PATH", "sh -c 'echo environment set'", "make env", "python -c 'import os; os.environ[\"A\"]'",
    "node -e 'process.env.A'", "sh -c 'set -e; make'", "bash -c 'export A=1; ./serve'", "python manage.py set", "python -c 'os.environ.get(1)'",
)  # fmt: skip


def is_refused(text: str) -> bool:
    try:
        refuse_dump(shlex.split(text))
    except UsageError:
        return True
    return False


def test_commands_that_print_all_variables_are_refused_and_others_are_not() -> None:
    assert [text for text in DUMPS if not is_refused(text)] == []
    assert [text for text in COMMANDS if is_refused(text)] == []


def test_under_an_assistant_no_command_prints_a_value(kpr: Kpr) -> None:
    kpr.variables["KPR_AGENT_SAFE"] = "1"
    done = kpr.run("sh", "-c", 'echo "$APP_DB_URL"', options=APP)
    assert (done.returncode, done.stdout) == (0, b"[masked]\n")
    dump = kpr.run("env", options=APP)
    assert (dump.returncode, dump.stdout) == (Exit.OWN_FAILURE, b"")
    (kpr.home / "template").write_text('{{ keeper "app/db-url" }}')
    for arguments in (("get", "app/db-url"), ("export", "--format", "json"), ("template", "template")):
        done = kpr(*arguments)
        assert (done.returncode, done.stdout) == (Exit.USAGE, b""), arguments
    assert kpr("list").returncode == 0
