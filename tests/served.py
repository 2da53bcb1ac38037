"""A Keeper that serves, started as `keeper run` starts it, for tests of whole processes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT, begin_on
from tests.servers.server import free_port

START_SECONDS = 150
# More than the supervisor's own patience with its children.
STOP_SECONDS = 90
UNSET = {"KEEPER_TLS", "KEEPER_ADMIN_PASSWORD", "REDIS_URL", "CELERY_BROKER_URL"}


@dataclass
class Served:
    """A running Keeper and what it printed so far."""

    process: subprocess.Popen[str]
    port: int
    output: Path

    def get(self, path: str, token: str = "") -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def environment(data: Path, database: str = "") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    url = database or f"sqlite:///{data}/keeper.db"
    return {**kept, "KEEPER_DATA_DIR": str(data), "DATABASE_URL": url}


@contextmanager
def keeper(
    data: Path,
    *arguments: str,
    module: str = "keeper_project.runtime.cli",
    schema: Path | None = None,
    database: str = "",
    output: Path | None = None,
) -> Iterator[Served]:
    """Start a Keeper, with a copy of `schema` for its database if there is none, and stop it at the end."""
    if schema and not data.exists():
        begin_on(schema, data)
    port, output = free_port(), output or data.parent / "output"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "run", "--port", str(port), *arguments],
            cwd=ROOT,
            env=environment(data, database),
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    served = Served(process, port, output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(port):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield served
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def issue_token(data: Path) -> str:
    wanted = ["--environment", "development", "--role", "reader", "--name", "test"]
    done = subprocess.run(
        [sys.executable, "-m", "keeper_project.runtime.cli", "issue-token", *wanted],
        cwd=ROOT,
        env=environment(data),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
