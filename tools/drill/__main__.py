"""Backs up a running Keeper while it is written to, restores it to SQLite and MariaDB, and judges what came.

It does what docs/backup.md asks of an operator, by the same commands, and then asks the restored
installation for every value whose writing was answered before the backup began. Exits with 1 on any doubt.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.processes import ROOT
from tests.production.stack import Service
from tests.servers.__main__ import Stopped, installation, running, stops
from tests.servers.server import MissingServer, ServerFailed, free_port
from tools.drill import SEEDED

WRITERS = 4
# Written before the backup begins; the writers continue until it is done.
WRITES = 40
START_SECONDS = 180
# What a restored Keeper needs besides the backup (docs/backup.md).
KEPT_APART = ("local.key", "token_pepper", "secret_key")


class Doubt(Exception):
    """The drill is not passed; the message names what is in doubt."""


class Drilled:
    """One installation: its variables, its commands, and its API while it is served."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.data, self.port = directory / "var", free_port()
        self.data.mkdir(parents=True)
        self.variables = {
            **os.environ,
            **installation(self.data),
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "KEEPER_ADMIN_USERNAME": "drill",
            "KEEPER_ADMIN_PASSWORD": secrets.token_urlsafe(18),
            "KEEPER_AUDIT_SINKS": "file",
            "KEEPER_LOG_FILE": "-",
            "EMAIL_HOST": "",
            **variables,
        }

    def run(self, module: str, *arguments: str) -> str:
        """Run a module to its end and return what it printed. Raises Doubt if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.variables,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout}\n{done.stderr}".strip()[-2_000:]
            raise Doubt(f"{module} {' '.join(arguments)} ended with {done.returncode}:\n{said}")
        return done.stdout

    def keeper(self, *arguments: str) -> str:
        """Run a command of this installation."""
        return self.run("keeper_project.runtime.cli", *arguments)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve it, web server and worker, for as long as the block lasts."""
        command = [sys.executable, "manage.py", "run", "--port", str(self.port)]
        service = Service(command, self.variables, self.data / "served.log")
        service.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while self.ask("/readyz")[0] != 200:
                if service.ended or time.monotonic() > deadline:
                    raise Doubt(f"Keeper does not serve:\n{service.log.read_text()[-2_000:]}")
                time.sleep(0.2)
            yield
        finally:
            service.stop()

    def ask(self, path: str, token: str = "", body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Send a request; (0, None) where no server listens."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError):
            return 0, None


class Writers:
    """Threads that write over the API; `stored` holds what was answered, by name."""

    def __init__(self, keeper: Drilled, token: str) -> None:
        self._keeper, self._token = keeper, token
        self._stop = threading.Event()
        self.stored: dict[str, str] = {}
        self._threads = [threading.Thread(target=self._write, args=(each,)) for each in range(WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        """Return when so many writes were answered."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.stored) < count:
            if time.monotonic() > deadline:
                raise Doubt(f"only {len(self.stored)} writes were answered")
            time.sleep(0.05)

    def _write(self, writer: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name, value = f"drill/{writer}/{number}", secrets.token_urlsafe(12)
            body = {"environment_id": 1, "name": name, "secret_type": "TEXT", "value": value}
            if self._keeper.ask("/api/secrets", self._token, body)[0] == 201:
                self.stored[name] = value


def drill(directory: Path, databases: dict[str, str]) -> None:
    """Go through all of it. Raises Doubt at the first thing that is in doubt."""
    origin, made = Drilled(directory / "origin"), directory / "drill.kbk"
    tokens = {line.split()[0]: line.split()[1:] for line in origin.run("tools.drill.seed").splitlines()}
    with origin.served(), Writers(origin, tokens["editor"][1]) as writers:
        writers.wait_for(WRITES)
        before, begun = dict(writers.stored), time.monotonic()
        origin.keeper("backup", "--output", str(made))
        during = len(writers.stored) - len(before)
        told("backup", begun, f"{made.stat().st_size:,} bytes, {during} writes were answered meanwhile")
        # What follows is newer than the backup: the restored trail has to name it.
        writers.wait_for(len(writers.stored) + WRITERS)
        origin.keeper("checkpoint")
    expected = {**{f"seeded/{number}": f"seeded value {number}" for number in range(SEEDED)}, **before}
    for name, url in databases.items():
        restored = Drilled(directory / name, **({"DATABASE_URL": url} if url else {}))
        for kept in KEPT_APART:
            shutil.copy(origin.data / kept, restored.data / kept)
        shutil.copytree(origin.data / "anchors", restored.data / "anchors")
        judge(name, restored, made, tokens["reader"], expected)


def judge(name: str, restored: Drilled, made: Path, token: Sequence[str], expected: dict[str, str]) -> None:
    """Restore, compare, activate, release and read, as in docs/backup.md."""
    begun = time.monotonic()
    restored.keeper("restore", str(made))
    told(f"{name}: restore", begun, "proved and restored into an empty database")
    begun = time.monotonic()
    for line in restored.keeper("restore", str(made), "--compare").splitlines():
        sys.stdout.write(f"      {line}\n")
    told(f"{name}: compare", begun, "")
    begun = time.monotonic()
    restored.keeper("activate", "--yes")
    with restored.served():
        path = "/api/environments/development/secrets/"
        first = next(iter(expected))
        if (status := restored.ask(f"{path}{first}", token[1])[0]) != 401:
            raise Doubt(f"a suspended token was answered {status}")
        restored.keeper("release", "service-token", token[0])
        lost = [
            each for each, value in expected.items()
            if (restored.ask(f"{path}{each}", token[1])[1] or {}).get("value") != value
        ]  # fmt: skip
    if lost:
        raise Doubt(f"{len(lost)} of {len(expected)} values did not come back, {lost[0]} first")
    told(f"{name}: read", begun, f"{len(expected)} values came back, by a token once it was released")
    begun = time.monotonic()
    said = restored.keeper("verify-audit")
    if "from backup" not in said:
        raise Doubt(f"verification does not tell of the discontinuity:\n{said}")
    told(f"{name}: verify", begun, said.splitlines()[-1])


def told(what: str, begun: float, said: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(f"ok    {what:18} {time.monotonic() - begun:6.1f} s  {said}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the drill in a directory that is thrown away."""
    stops.heed()
    with tempfile.TemporaryDirectory(prefix="keeper-drill-", ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        try:
            with running(["mariadb"], directory) as addresses:
                drill(directory, {"sqlite": "", "mariadb": addresses["KEEPER_TEST_MARIADB_URL"]})
        except Stopped as stopped:
            return int(str(stopped.code))
        except (Doubt, MissingServer, ServerFailed) as error:
            sys.stderr.write(f"doubt: {error}\n")
            return 1
    sys.stdout.write("The drill is passed: no doubt is left.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
