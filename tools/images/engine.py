"""podman and buildah, set up so that they also work inside a container or a small virtual machine."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD_SECONDS: Final = 1800
_SECONDS: Final = 300
_CERTIFICATES: Final = "/etc/ssl/certs"


class Failed(RuntimeError):
    """A command of an engine failed; the message ends with what it printed."""


class Engine:
    """Runs podman and buildah with a configuration of its own, in a folder that ends with the program."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="images-")
        configuration = Path(self._folder.name) / "containers.conf"
        limits = ", ".join(f'"{limit}"' for limit in _limits())
        # Groups of processes are the machine's, and it has a firewall of its own or none.
        configuration.write_text(
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
            f'[containers]\ndefault_ulimits = [{limits}]\n[network]\nfirewall_driver = "none"\n'
        )
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(configuration),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def run(
        self, *command: str | Path, seconds: float = _SECONDS, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises Failed if it fails and `check` is on."""
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise Failed(f"{' '.join(map(str, command[:4]))} … ended with {done.returncode}: {said}")
        return done

    def podman(
        self, *arguments: str | Path, seconds: float = _SECONDS, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run podman to its end. Raises Failed if it fails and `check` is on."""
        return self.run("podman", *arguments, seconds=seconds, check=check)

    def build(self, context: Path, tag: str) -> None:
        """Build a Dockerfile without groups of processes; packages come by the machine's own ways. Raises Failed."""
        variables = [f"--env={name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
        limits = [f"--ulimit={limit}" for limit in _limits()]
        self.run(
            "buildah", "bud", "--format=docker", "--isolation=chroot", "--network=host", *limits, *variables,
            f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro", f"--tag={tag}", context, seconds=BUILD_SECONDS,
        )  # fmt: skip

    def size(self, image: str) -> int:
        """Return the bytes of an image, those of its base among them."""
        return int(self.podman("image", "inspect", "--format={{.Size}}", image).stdout)

    def has(self, image: str) -> bool:
        """Return whether an image is here."""
        return self.podman("image", "exists", image, check=False).returncode == 0


def _limits() -> Sequence[str]:
    """Return the limits of this process, which a container in it may not exceed."""
    found = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    pairs = {name: resource.getrlimit(kind) for name, kind in found.items()}
    return [f"{name}={soft}:{hard}" for name, (soft, hard) in pairs.items()]
