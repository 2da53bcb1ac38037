"""Which Python `make` takes, and that Keeper serves on the older ones that it supports."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.servers.server import free_port

ROOT = Path(__file__).resolve().parents[2]
PRINT = "--eval=print: ; @echo $(PYTHON)"
START_SECONDS = 300


def taken(path: Path) -> str:
    done = subprocess.run(
        ["make", "--silent", PRINT, "print"],
        cwd=ROOT, env={"PATH": f"{path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def executable(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_newest_python_that_makes_environments_is_taken(tmp_path: Path) -> None:
    for name in ("python3.11", "python3.12", "python3.13"):
        executable(tmp_path / name, f'exec "{sys.executable}" "$@"')
    assert taken(tmp_path) == "python3.13"
    # As a version manager's stand-in for a version that is not chosen, or Debian's without its venv package.
    executable(tmp_path / "python3.13", "exit 127")
    assert taken(tmp_path) == "python3.12"
    executable(tmp_path / "python3.12", 'case "$2" in *ensurepip*) exit 1;; esac')
    assert taken(tmp_path) == "python3.11"


def found(version: str) -> str:
    """Return an interpreter of a version: of the path, or of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for python in (f"/usr/bin/python{version}", *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))):
        probe = [python, "-c", "import ensurepip, venv"]
        if Path(python).exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return python
    raise FileNotFoundError(f"Python {version} is not installed")


def is_serving(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def embedded(data: Path) -> dict[str, str]:
    """Return the variables of a Keeper on its own database, which is not that of the tests."""
    return {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {
        "KEEPER_DATA_DIR": str(data)
    }


@pytest.mark.torture
@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_keeper_serves_on_older_pythons(tmp_path: Path, version: str) -> None:
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "checkout"], check=True)
    port = free_port()
    given = [f"PYTHON={found(version)}", f"PORT={port}"]
    running = subprocess.Popen(
        ["make", "run", *given],
        cwd=tmp_path / "checkout",
        env=embedded(tmp_path / "data"),
        start_new_session=True,
    )
    try:
        ends = time.monotonic() + START_SECONDS
        while not is_serving(port):
            assert running.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.5)
        python = tmp_path / "checkout" / ".venv" / "bin" / "python"
        told = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
        assert told.startswith(f"Python {version}.")
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)
