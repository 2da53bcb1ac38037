"""Runs the containers of a composition by podman: each service as its file describes it, on a network of its own."""

import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import yaml

from tools.images.engine import ROOT, Engine, Failed

START_SECONDS: Final = 180
_STOP_SECONDS: Final = 10
_VARIABLE: Final = re.compile(r"\$\{(\w+)(:\?|:-)?([^}]*)\}")


class Unsupported(RuntimeError):
    """A service has a key that this program does not pass on."""


# What has no meaning here: nothing is built, published or started again, and the order is the caller's.
_LEFT_OUT: Final = {
    "build",
    "depends_on",
    "restart",
    "env_file",
    "ports",
    "expose",
    "networks",
    "stop_grace_period",
}
_PASSED: Final = {"image", "command", "entrypoint", "environment", "volumes", "read_only", "tmpfs"}
_PASSED_AS_WELL: Final = {"cap_drop", "security_opt", "healthcheck"}


class Composition:
    """The containers of one file. `image` is that of the services that the file builds."""

    def __init__(
        self,
        engine: Engine,
        file: str,
        image: str,
        variables: Mapping[str, str],
        more: Mapping[str, str] | None = None,
    ) -> None:
        self._engine, self.image, self._variables, self._more = engine, image, variables, dict(more or {})
        self._document = yaml.safe_load((ROOT / file).read_text())
        self.services: dict[str, dict[str, Any]] = self._document["services"]
        self._name = f"keeper-images-{secrets.token_hex(3)}"

    def __enter__(self) -> Self:
        ipam = self._document.get("networks", {}).get("default", {}).get("ipam", {}).get("config", [])
        names = {"subnet": "--subnet", "ip_range": "--ip-range"}
        subnet = [f"{names[key]}={value}" for each in ipam for key, value in each.items()]
        self._engine.podman("network", "create", *subnet, self._name)
        return self

    def __exit__(self, *_: object) -> None:
        names = self._engine.podman(
            "ps", "--all", "--quiet", f"--filter=network={self._name}", check=False
        ).stdout
        if names.split():
            self._engine.podman("rm", "--force", "--time=1", *names.split(), check=False)
        volumes = [f"{self._name}-{volume}" for volume in self._document.get("volumes", {})]
        self._engine.podman("volume", "rm", "--force", *volumes, check=False)
        self._engine.podman("network", "rm", self._name, check=False)

    @property
    def gateway(self) -> str:
        """The address at which containers reach this machine."""
        form = "--format={{(index .Subnets 0).Gateway}}"
        return self._engine.podman("network", "inspect", form, self._name).stdout.strip()

    def pass_on(self, variables: Mapping[str, str]) -> None:
        """Give Keeper's containers further variables, as keeper.env would."""
        self._more |= variables

    def container(self, service: str) -> str:
        """Return the name of a service's container."""
        return f"{self._name}-{service}"

    def address(self, service: str) -> str:
        """Return the address of a service's container."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self._engine.podman("inspect", f"--format={form}", self.container(service)).stdout.strip()

    def up(self, service: str) -> None:
        """Start a service that lasts, and wait until its health check succeeds, where it has one. Raises Failed."""
        self._engine.podman("run", "--detach", *self._arguments(service))
        self.until_healthy(service)

    def until_healthy(self, service: str) -> None:
        """Wait until the health check of a service succeeds, where it has one. Raises Failed."""
        if not self._checked(service):
            return

        def is_healthy() -> bool:
            if self.inspect(service, "{{.State.Running}}") != "true":
                raise Failed(f"{service} ended: {self.logs()}")
            check = ("healthcheck", "run", self.container(service))
            return self._engine.podman(*check, check=False).returncode == 0

        self.until(is_healthy, f"{service} is not healthy")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds. Raises Failed with the last lines of all containers."""
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise Failed(f"{what}: {self.logs()}")
            time.sleep(0.5)

    def once(self, service: str) -> str:
        """Run a service to its end and return what it printed. Raises Failed."""
        return self._engine.podman("run", "--rm", *self._arguments(service)).stdout

    def stop(self, service: str) -> tuple[float, int]:
        """Ask a service to end within its grace; return the seconds that it took, and its exit code."""
        began = time.monotonic()
        self._engine.podman("stop", f"--time={self.grace(service)}", self.container(service))
        took = time.monotonic() - began
        code = self._engine.podman("inspect", "--format={{.State.ExitCode}}", self.container(service)).stdout
        return took, int(code)

    def start(self, service: str) -> None:
        """Start a stopped container again, and wait for its health. Raises Failed."""
        self._engine.podman("start", self.container(service))
        self.until_healthy(service)

    def remove(self, service: str) -> None:
        """Remove a stopped container; its volumes stay."""
        self._engine.podman("rm", self.container(service))

    def execute(self, service: str, *command: str, check: bool = True) -> tuple[int, str]:
        """Run a command in a container; return its exit code and what it printed. Raises Failed if `check` is on."""
        done = self._engine.podman("exec", self.container(service), *command, check=check)
        return done.returncode, done.stdout.strip()

    def inspect(self, service: str, form: str) -> str:
        """Return a fact about a container, by a template of podman."""
        return self._engine.podman("inspect", f"--format={form}", self.container(service)).stdout.strip()

    def grace(self, service: str) -> int:
        """Return the seconds that a service may take to end."""
        return int(str(self.services[service].get("stop_grace_period", _STOP_SECONDS)).removesuffix("s"))

    def logs(self) -> str:
        """Return the last lines of each container."""
        found = []
        for service in self.services:
            with suppress(Failed):
                done = self._engine.podman("logs", "--tail=8", self.container(service))
                found.append(f"\n--- {service}\n{done.stdout}{done.stderr}")
        return "".join(found)

    def _checked(self, service: str) -> bool:
        described = self.services[service].get("healthcheck")
        own = described is None and "build" in self.services[service]
        return own or bool(described and not described.get("disable"))

    def _arguments(self, service: str) -> list[str | Path]:
        described = self.services[service]
        if unknown := described.keys() - _LEFT_OUT - _PASSED - _PASSED_AS_WELL:
            raise Unsupported(f"{service}: {', '.join(sorted(unknown))}")
        is_ours = "build" in described
        options: list[str | Path] = [
            f"--name={self.container(service)}",
            f"--network={self._network(service)}",
        ]
        options += [f"--network-alias={service}"]
        variables = {**described.get("environment", {}), **(self._more if is_ours else {})}
        options += [f"--env={name}={self._filled(str(value))}" for name, value in variables.items()]
        options += [f"--volume={self._volume(each)}" for each in described.get("volumes", [])]
        options += [_tmpfs(each) for each in described.get("tmpfs", [])]
        options += ["--read-only", "--read-only-tmpfs=false"] if described.get("read_only") else []
        options += [f"--cap-drop={each}" for each in described.get("cap_drop", [])]
        options += [
            f"--security-opt={each.removesuffix(':true')}" for each in described.get("security_opt", [])
        ]
        options += self._health(described.get("healthcheck") or {})
        first, *entrypoint = described.get("entrypoint", [""])
        options += [f"--entrypoint={first}"] if first else []
        image = self.image if is_ours else f"docker.io/library/{described['image']}"
        return [*options, image, *entrypoint, *(self._filled(each) for each in described.get("command", []))]

    def _network(self, service: str) -> str:
        fixed = self.services[service].get("networks", {}).get("default", {}).get("ipv4_address")
        return f"{self._name}:ip={fixed}" if fixed else self._name

    def _health(self, check: Mapping[str, Any]) -> list[str]:
        if check.get("disable"):
            return ["--no-healthcheck"]
        # It is run when it is asked for.
        return [f"--health-cmd={shlex.join(check['test'][1:])}", "--health-interval=disable"] if check else []

    def _volume(self, text: str) -> str:
        source, _, rest = self._filled(text).partition(":")
        if source.startswith("/"):
            return f"{source}:{rest}"
        return f"{ROOT / source}:{rest}" if source.startswith(".") else f"{self._name}-{source}:{rest}"

    def _filled(self, text: str) -> str:
        return _VARIABLE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        name, kind, fallback = match.groups()
        value = self._variables.get(name, "")
        if kind == ":?" and not value:
            raise Unsupported(f"{name} is required")
        return value or (fallback if kind == ":-" else "")


def _tmpfs(text: str) -> str:
    """Return podman's option for a folder in memory; it takes the owner from the container's user."""
    path, _, options = text.partition(":")
    given = dict(each.split("=") for each in options.split(",") if each)
    mode = f",tmpfs-mode=0{given['mode']}" if "mode" in given else ""
    owner = ",chown=true" if "uid" in given else ""
    return f"--mount=type=tmpfs,destination={path}{mode}{owner}"
