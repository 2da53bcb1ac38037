"""The Keeper that is soaked: `keeper run` with the embedded defaults, and the processes that it consists of."""

import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import requests

from tests.processes import begin_on, commands_for_tokens, run_commands
from tests.servers.__main__ import installation
from tests.servers.server import Server, accepts

ROOT = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 10
STOP_SECONDS = 90
# What may be killed: the server's own process, the one that answers requests, and the worker.
VICTIMS = ("web server", "web process", "worker", "read engine")


class NotAnswered(Exception):
    """A request had no answer, or one that says "later" (5xx, 429)."""


class Keeper(Server):
    """`keeper run` as `make run` starts it: SQLite, local keys, one worker, no proxy.

    It begins on a copy of `schema`, a migrated database, if there is one.
    """

    name: ClassVar[str] = "keeper"
    program: ClassVar[str] = "granian"
    package: ClassVar[str] = "requirements.txt"
    roles: ClassVar[tuple[str, ...]] = ("reader", "editor", "manager")

    def __init__(
        self, directory: Path, module: str = "keeper_project.runtime.cli", schema: Path | None = None
    ) -> None:
        super().__init__(directory)
        self.module, self._schema = module, schema
        self.data = self.directory / "var"
        self.tokens: dict[str, str] = {}
        self.variables = {
            **installation(self.data),
            "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "KEEPER_TOKEN_REQUESTS_PER_MINUTE": "100000000",
            "PYTHONPATH": str(ROOT),
        }

    def command(self) -> list[str]:
        keeper = [sys.executable, "-m", self.module, "run", "--port", str(self.port)]
        return ["env", *(f"{name}={value}" for name, value in self.variables.items()), *keeper]

    def ready(self) -> bool:
        return accepts(self.port) and self.is_ready()

    def environment(self) -> dict[str, str]:
        return {}

    def prepare(self) -> None:
        begin_on(self._schema, self.data)

    def prepare_running(self) -> None:
        """Issue the tokens of the programs that will use it."""
        printed = run_commands({**os.environ, **self.variables}, *commands_for_tokens(*self.roles))
        self.tokens = dict(zip(self.roles, printed, strict=True))

    def run(self, *arguments: str) -> str:
        """Run a command of this Keeper to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "keeper_project.runtime.cli", *arguments],
            env={**os.environ, **self.variables}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def password(self) -> str:
        """The first administrator's password, as it was printed."""
        found = re.search(r"Password, shown once: (\S+)", self.log.read_text())
        assert found, self.log.read_text()
        return found[1]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, role: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        """Ask the API and return status and document. Raises NotAnswered."""
        try:
            answer = requests.request(
                method, self.url(path), json=body, timeout=ANSWER_SECONDS,
                headers={"Authorization": f"Bearer {self.tokens[role]}"},
            )  # fmt: skip
            if answer.status_code >= 500 or answer.status_code == 429:
                raise NotAnswered(f"{method} {path}: {answer.status_code} {answer.text[:400]}")
            return answer.status_code, answer.json() if answer.content else {}
        except requests.RequestException as error:
            raise NotAnswered(type(error).__name__) from error

    def is_ready(self) -> bool:
        """Say whether /readyz names nothing that is wrong, the worker included."""
        try:
            answer = requests.get(self.url("/readyz"), timeout=ANSWER_SECONDS)
        except requests.RequestException:
            return False
        return answer.status_code == 200 and answer.json()["status"] == "ok"

    def processes(self) -> dict[str, list[int]]:
        """Return the living processes by what they are; the supervisor is none of them."""
        family = _children_by_parent()
        found: dict[str, list[int]] = {victim: [] for victim in VICTIMS}
        for child in family[self.pid or 0]:
            if (name := _name_of(child)) in found:
                found[name].append(child)
                found["web process"] += family[child] if name == "web server" else []
        return found

    @property
    def runs(self) -> bool:
        """Whether `keeper run` has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill_one(self, victim: str) -> bool:
        """Kill a process of a kind at once, and say whether there was one."""
        for pid in self.processes()[victim][:1]:
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def end(self) -> int:
        """Stop it as an operator does, and return the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    def logs(self) -> Iterator[Path]:
        """Return all that it wrote: to its standard output, and to its log file as far as that goes back."""
        yield self.log
        yield from self.data.glob("logs/keeper.log*")


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _children_by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The program's name, in parentheses, may hold anything.
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            children[int(parent)].append(int(entry.parent.name))
    return children
