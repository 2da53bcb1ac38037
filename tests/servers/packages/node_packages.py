"""Installs the packages of Node.js that tests read Keeper's files with: `python -m tests.servers.packages.node_packages`.

They are pinned by tests/servers/node/package-lock.json with their hashes, and lie beside the Python environment.
"""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers.server import MissingServer

_PINNED: Final = Path(__file__).parents[1] / "node"
_INSTALLED: Final = Path(sys.prefix) / "node"
_FILES: Final = ("package.json", "package-lock.json")


def node_modules() -> Path:
    """Return the folder of the pinned packages; install them if they are not there.

    Raises MissingServer if Node.js or npm is not installed.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        raise MissingServer("node or npm is not installed; they come with the Debian packages nodejs and npm")
    _INSTALLED.mkdir(exist_ok=True)
    # Each worker of a run comes here.
    with (_INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            _install()
    return _INSTALLED / "node_modules"


def _is_installed() -> bool:
    # The stamp is written last, so that an installation that was cut off is done again.
    stamp = _INSTALLED / "installed"
    return stamp.exists() and stamp.read_bytes() == (_PINNED / _FILES[1]).read_bytes()


def _install() -> None:
    for name in _FILES:
        shutil.copy(_PINNED / name, _INSTALLED / name)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=_INSTALLED, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    shutil.copy(_PINNED / _FILES[1], _INSTALLED / "installed")


if __name__ == "__main__":
    node_modules()
