"""Runs a command while MariaDB, PostgreSQL, Redis, moto and OpenBao run: `python -m tests.servers -- pytest -q`.

Exits as the command does. `--without NAME` leaves a server out.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from tests import bytecode
from tests.servers.mariadb import MariaDb
from tests.servers.moto import Moto
from tests.servers.openbao import OpenBao
from tests.servers.postgresql import PostgreSql
from tests.servers.redis import Redis
from tests.servers.server import MissingServer, Server, ServerFailed

SERVERS: dict[str, type[Server]] = {
    server.name: server for server in (MariaDb, PostgreSql, Redis, Moto, OpenBao)
}
USUAL = ["mariadb", "postgresql", "redis", "moto", "openbao"]
GRACE_SECONDS = 15
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(SystemExit):
    """A signal asked the runner to stop."""


class Stops:
    """Turns the first signal into an exit that passes through every `finally`; further ones are ignored."""

    def __init__(self) -> None:
        self._waits = False
        self._number = 0

    def heed(self) -> None:
        """Be called by the signals from now on."""
        for each in STOPS:
            signal.signal(each, self._stop)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Stop at the end of the block at the earliest: a process begun in it is known by then."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self._number:
            raise Stopped(128 + self._number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        for each in STOPS:
            signal.signal(each, signal.SIG_IGN)
        self._number = number
        if not self._waits:
            raise Stopped(128 + number)


stops = Stops()


@contextlib.contextmanager
def running(names: Sequence[str], directory: Path) -> Iterator[dict[str, str]]:
    """Start the named servers, yield the variables that name their addresses, and stop them all.

    Raises MissingServer if a program is not installed, ServerFailed if one does not start.
    """
    servers = [SERVERS[name](directory) for name in names]
    try:
        for server in servers:
            with stops.held_back():
                server.start()
        for server in servers:
            server.wait()
        yield {name: value for server in servers for name, value in server.environment().items()}
    finally:
        for server in servers:
            server.stop()


def installation(data_directory: Path) -> dict[str, str]:
    """Return the settings of a Keeper that touches nothing outside a directory.

    Each is given, even where it is the default: a variable that is set wins over the
    developer's own .env, which may name real servers and real AWS accounts.
    """
    return {
        "KEEPER_DATA_DIR": str(data_directory),
        "DATABASE_URL": f"sqlite:///{data_directory}/keeper.db",
        "REDIS_URL": "",
        "CELERY_BROKER_URL": "",
        "KEY_MANAGEMENT_BACKEND": "local",
        "KEEPER_TLS": "false",
        "DEBUG": "false",
        "SECRET_KEY": "",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **bytecode.VARIABLES,
    }


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit code; a stop in between ends it first."""
    process = None
    try:
        with stops.held_back():
            process = subprocess.Popen(command, env={**os.environ, **environment})
        return process.wait()
    except Stopped:
        if process is None:
            raise
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def main() -> int:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("--without", dest="removed", action="append", default=[], choices=sorted(SERVERS))
    parser.add_argument("command", nargs="+", help="the command to run, after `--`")
    options = parser.parse_args()
    names = [name for name in USUAL if name not in options.removed]
    bytecode.keep()
    stops.heed()
    with tempfile.TemporaryDirectory(prefix="keeper-tests-", ignore_cleanup_errors=True) as directory:
        try:
            with running(names, Path(directory)) as addresses:
                return run(options.command, {**installation(Path(directory) / "var"), **addresses})
        except (MissingServer, ServerFailed) as error:
            sys.stderr.write(f"tests.servers: {error}\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
