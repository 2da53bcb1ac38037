"""The competitors of a run: each is started when first asked for, and all are stopped at the end."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

from benchmarks.measuring.processes import descendants
from benchmarks.servers import SECRETS, DurableMariaDb, FilledOpenBao, Floor, Keeper
from tests.servers.moto import Moto
from tests.servers.openbao import OpenBao
from tests.servers.server import Server

SQLITE = "SQLite"
MARIADB = "MariaDB"
_LOG_LINES = 3
S = TypeVar("S", bound=Server)
K = TypeVar("K", bound="Keeper")


class Stage:
    """Gives each benchmark the competitors that it names."""

    def __init__(self, directory: Path, databases: list[str]) -> None:
        self.databases = databases
        self.directory = directory
        self._stack = ExitStack()
        self._keepers: dict[tuple[str, int], Keeper] = {}
        self._floors: dict[tuple[str, int], Floor] = {}
        self._openbaos: dict[int, FilledOpenBao] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is not None and not issubclass(kind, SystemExit):
            self._print_logs()

    def _print_logs(self) -> None:
        """Print how the log of each server ends, before the directory is removed."""
        for log in sorted(self.directory.rglob("output.log")):
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            sys.stderr.write("\n".join([f"--- {log.relative_to(self.directory)}", *lines, ""]))

    def keeper(self, database: str, secrets: int = SECRETS) -> Keeper:
        """Return Keeper on a database, with so many secrets in `development`."""
        if (database, secrets) not in self._keepers:
            place = self.directory / f"keeper-{secrets}-{database}"
            url = self._url(database, f"keeper_{secrets}_benchmark")
            self._keepers[database, secrets] = self._started(Keeper(place, url, secrets=secrets))
        return self._keepers[database, secrets]

    def whole_keeper(self, kind: type[K], database: str, secrets: int) -> K:
        """Return a Keeper with its worker in place of the one that has so many secrets."""
        before = self.keeper(database, secrets)
        server = kind(self.directory / f"whole-{secrets}-{database}", "")
        server.take_over(before)
        before.stop()
        self._keepers[database, secrets] = server
        return self._started(server)

    def idle_keepers(self, kind: type[K], database: str, rounds: int) -> Iterator[K]:
        """Yield Keepers of one installation, to be started one after the other; the first one makes it."""
        first = kind(self.directory / f"idle-{database}-0", self._url(database, "keeper_idle_benchmark"))
        for number in range(rounds + 1):
            server = kind(self.directory / f"idle-{database}-{number}", "") if number else first
            server.variables = first.variables
            self._stack.callback(server.stop)
            yield server

    def loaded_keeper(self, kind: type[K], database: str) -> K:
        """Return a Keeper with its worker, on a database of its own, that may connect to this machine."""
        place = self.directory / f"loaded-{database}"
        variables = {"KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8"}
        return self._started(kind(place, self._url(database, "keeper_load_benchmark"), variables))

    def idle_openbao(self) -> int:
        """Return the process id of an OpenBao that nobody asks for anything."""
        return self._started(OpenBao(self.directory / "idle-openbao")).pid or 0

    def floor(self, database: str, secrets: int = SECRETS) -> Floor:
        """Return the floor on a database, with so many secrets."""
        if (database, secrets) not in self._floors:
            place = self.directory / f"floor-{secrets}-{database}"
            url = self._url(database, f"floor_{secrets}_benchmark")
            self._floors[database, secrets] = self._started(Floor(place, url, secrets=secrets))
        return self._floors[database, secrets]

    def openbao(self, secrets: int = SECRETS) -> FilledOpenBao:
        """Return OpenBao with so many secrets, on raft storage with a file audit device."""
        if secrets not in self._openbaos:
            server = FilledOpenBao(self.directory / f"openbao-{secrets}", secrets=secrets)
            self._openbaos[secrets] = self._started(server)
        return self._openbaos[secrets]

    def processes_of(self, server: Server, database: str = "") -> set[int]:
        """Return the processes that answer for a server: its own, and those of its database."""
        pids = [server.pid] if database != MARIADB else [server.pid, self.mariadb.pid]
        return descendants(pid for pid in pids if pid)

    @cached_property
    def sync_servers(self) -> dict[str, dict[str, str]]:
        """What targets of the sync are in: moto, and an OpenBao besides the one that is raced against."""
        moto = self._started(Moto(self.directory / "sync-moto"))
        openbao = self._started(OpenBao(self.directory / "sync-openbao"))
        return {
            "aws_secrets_manager": {"url": f"http://127.0.0.1:{moto.port}", "pid": str(moto.pid)},
            "vault_kv2": {
                "url": f"http://127.0.0.1:{openbao.port}",
                "token": openbao.token,
                "pid": str(openbao.pid),
            },
        }

    @cached_property
    def parameter_store(self) -> str:
        """Return the address of a moto for Parameter Store alone: it answers one request at a time."""
        return f"http://127.0.0.1:{self._started(Moto(self.directory / 'parameter-moto')).port}"

    @cached_property
    def mariadb(self) -> DurableMariaDb:
        """A MariaDB of this run."""
        return self._started(DurableMariaDb(self.directory))

    def _url(self, database: str, name: str) -> str:
        if database == SQLITE:
            return f"sqlite:///{self.directory}/{name}.db"
        self.mariadb.execute(f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4")
        server = urlsplit(self.mariadb.environment()["KEEPER_TEST_MARIADB_URL"])
        return server._replace(path=f"/{name}").geturl()

    def _started(self, server: S) -> S:
        started = time.monotonic()
        self._stack.callback(server.stop)
        server.start()
        server.wait()
        place = server.directory.relative_to(self.directory)
        sys.stderr.write(f"{place}: ready after {time.monotonic() - started:.0f} s\n")
        return server
