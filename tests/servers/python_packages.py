"""Installs AWS's clients in an environment of their own: `python -m tests.servers.python_packages`.

The command line pins its own botocore. They are pinned by tests/servers/aws/requirements.txt with their hashes,
and lie beside the Python environment.
"""

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers.server import MissingServer

_PINNED: Final = Path(__file__).parent / "aws" / "requirements.txt"
_INSTALLED: Final = Path(sys.prefix) / "aws-clients"


def aws_program(name: str) -> Path:
    """Return a program of the environment of AWS's clients; install it if it is not there.

    Raises MissingServer if it cannot be installed.
    """
    _INSTALLED.mkdir(exist_ok=True)
    # Each worker of a run comes here.
    with (_INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            _install()
    return _INSTALLED / "bin" / name


def _is_installed() -> bool:
    # The stamp is written last, so that an installation that was cut off is done again.
    stamp = _INSTALLED / "installed"
    return stamp.exists() and stamp.read_bytes() == _PINNED.read_bytes()


def _install() -> None:
    uv, python = Path(sys.prefix) / "bin" / "uv", _INSTALLED / "bin" / "python"
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, _INSTALLED],
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", _PINNED],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingServer(f"the clients of AWS cannot be installed: {done.stderr}")
    (_INSTALLED / "installed").write_bytes(_PINNED.read_bytes())


if __name__ == "__main__":
    aws_program("aws")
