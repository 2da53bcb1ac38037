"""`make demo` starts what it says, shows a plan, and leaves nothing behind when it is stopped."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.servers.server import START_SECONDS, accepts, free_port

ROOT = Path(__file__).resolve().parents[2]


def test_the_demonstration_serves_and_stops(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told = _until(process, "Keeper serves")
        assert re.search(r"/sync/plans/\d+", told), told
        assert "Sign in as demo" in told
        assert "as lead with the password" in told
        _wait_for(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in", timeout=120) as page:
            assert page.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=180)
    assert process.returncode == 0, told + rest
    assert list(tmp_path.glob("keeper-demo-*")) == []
    # What was killed may take a moment to go.
    deadline = time.monotonic() + START_SECONDS
    while left := _processes_in(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _until(process: "subprocess.Popen[str]", words: str) -> str:
    """Read what the demonstration prints until it says these words."""
    told = ""
    assert process.stdout is not None
    for line in process.stdout:
        told += line
        if words in line:
            return told
    raise AssertionError(f"it ended before it served:\n{told}")


def _wait_for(port: int) -> None:
    """Wait for the web server, which says nothing when it listens."""
    deadline = time.monotonic() + START_SECONDS
    while not accepts(port):
        assert time.monotonic() < deadline, "it never listened"
        time.sleep(0.1)


def _processes_in(directory: Path) -> list[str]:
    """Return the commands of the processes that still work in a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(directory) in command:
            found.append(command)
    return found
