"""Where and when a run was made: the commit, the machine, and what else it did."""

import datetime as dt
import os
import platform
import subprocess
from pathlib import Path
from sysconfig import get_config_var

from benchmarks.servers import ROOT

_IN_MEMORY = {"tmpfs", "ramfs"}


class NotOnDisk(RuntimeError):
    """The directory of the databases is in memory, where a commit waits for nothing."""


def heading(directory: Path, load_before: float) -> str:
    """Return one line: commit, day, Python, cores, file system, and the load before and after."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = " with changes" if _git("status", "--porcelain", "--", "*.py") else ""
    python = f"Python {platform.python_version()}{'' if _is_optimised() else ' without optimizations'}"
    load = f"load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after"
    return (
        f"Measured at commit {commit}{changed} on {dt.datetime.now(dt.UTC):%d %B %Y}: {python}, "
        f"{os.cpu_count()} cores, {file_system(directory)}, {load}"
    )


def require_disk(directory: Path) -> None:
    """Raise NotOnDisk if databases in this directory would not be durable."""
    kind = file_system(directory)
    if kind in _IN_MEMORY:
        raise NotOnDisk(f"{directory} is on {kind}: set TMPDIR to a directory on a disk")


def file_system(directory: Path) -> str:
    """Return the kind of file system that a directory is on, such as ext4."""
    found, longest = "an unknown file system", 0
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        place = place.replace("\\040", " ")
        if directory.resolve().is_relative_to(place) and len(place) >= longest:
            found, longest = kind, len(place)
    return found


def _is_optimised() -> bool:
    return "--enable-optimizations" in str(get_config_var("CONFIG_ARGS"))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
