"""The competitors of a run: each is started when first asked for, and all are stopped at the end."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

import boto3

from benchmarks.client import Endpoint, UnexpectedAnswer, all_of
from benchmarks.values import secret_name, secret_value
from tests.servers.__main__ import installation
from tests.servers.mariadb import MariaDb
from tests.servers.moto import Moto
from tests.servers.openbao import OpenBao
from tests.servers.server import Server, accepts

SECRETS = 1000
CLIENTS = 8
SQLITE = "SQLite"
MARIADB = "MariaDB"
# As many as `keeper run` gives its web server; a test compares them.
WEB_THREADS = 4
ROOT = Path(__file__).resolve().parent.parent
_LOG_LINES = 3
_REGION = "eu-central-1"
S = TypeVar("S", bound=Server)
K = TypeVar("K", bound="Keeper")


class Keeper(Server):
    """Keeper as `keeper run` serves it, without the worker; `development` holds the secrets."""

    name: ClassVar[str] = "keeper"
    program: ClassVar[str] = "granian"
    package: ClassVar[str] = "requirements.txt"

    def __init__(
        self, directory: Path, database_url: str, variables: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(directory)
        self.variables = {
            **installation(self.directory / "var"),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "PYTHONPATH": str(ROOT),
            **(variables or {}),
        }
        self.secret_ids: list[int] = []
        self._prepared: dict[str, Any] = {}

    def command(self) -> list[str]:
        """Return `keeper run`, in an environment of its own."""
        keeper = [
            sys.executable,
            "-m",
            "keeper_project.runtime.cli",
            "run",
            "--no-worker",
            "--port",
            str(self.port),
        ]
        return ["env", *(f"{name}={value}" for name, value in self.variables.items()), *keeper]

    def ready(self) -> bool:
        """Say whether it listens."""
        return accepts(self.port)

    def answers(self, path: str) -> bool:
        """Say whether a path answers with success."""
        try:
            Endpoint(self.port, {}).call("GET", path)
        except (OSError, UnexpectedAnswer):
            return False
        return True

    def environment(self) -> dict[str, str]:
        """Return nothing: no test looks for it."""
        return {}

    def prepare_running(self) -> None:
        """Issue tokens and store the secrets of every competitor."""
        self.store_secrets()

    def store_secrets(self) -> None:
        """Issue tokens and store the secrets."""
        self._prepared = self.inside("prepare")
        self.secret_ids = self.create("development", SECRETS)

    def client(self, environment: str) -> Endpoint:
        """Return the way in with an editor's token for an environment."""
        return Endpoint(self.port, {"Authorization": f"Bearer {self._prepared['tokens'][environment]}"})

    def bulk_request(self, environment: str, count: int, prefix: str = "service") -> bytes:
        """Return the request that creates so many secrets in one call."""
        items = [
            {"name": secret_name(n, prefix), "secret_type": "PASSWORD", "value": secret_value(n)}
            for n in range(count)
        ]
        body = {"environment_id": self._prepared["environments"][environment], "secrets": items}
        return self.client(environment).request("POST", "/api/secrets/bulk", body)

    def create(self, environment: str, count: int, prefix: str = "service") -> list[int]:
        """Create secrets in one call and return their ids."""
        body = json.loads(self.bulk_request(environment, count, prefix).partition(b"\r\n\r\n")[2])
        answer = self.client(environment).call("POST", "/api/secrets/bulk", body)
        return [item["id"] for item in answer["results"]]

    def child_environment(self) -> dict[str, str]:
        """Return the variables of a process of this Keeper."""
        return {**os.environ, **self.variables}

    def inside(self, *arguments: str) -> Any:
        """Run `benchmarks.inside` in a process of this Keeper and return what it prints."""
        return json.loads(_run([sys.executable, "-m", "benchmarks.inside", *arguments], self.variables))


class Floor(Server):
    """The bare framework, served by the same program with the same options."""

    name: ClassVar[str] = "floor"
    program: ClassVar[str] = "granian"
    package: ClassVar[str] = "requirements.txt"

    def __init__(self, directory: Path, database_url: str, *, threads: int) -> None:
        super().__init__(directory)
        self._threads = threads
        self.variables = {
            "FLOOR_DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.floor.settings",
            "PYTHONPATH": str(ROOT),
        }
        self._token = secrets.token_urlsafe(32)

    def prepare(self) -> None:
        """Make the tables and fill them."""
        _run([sys.executable, "-m", "benchmarks.floor", str(SECRETS), self._token], self.variables)

    def command(self) -> list[str]:
        """Return the web server as Keeper starts it."""
        served = [sys.executable, "-m", "benchmarks.floor.serve", str(self.port), str(self._threads)]
        return ["env", *(f"{name}={value}" for name, value in self.variables.items()), *served]

    def ready(self) -> bool:
        """Say whether it listens."""
        return accepts(self.port)

    def environment(self) -> dict[str, str]:
        """Return nothing: no test looks for it."""
        return {}

    def client(self) -> Endpoint:
        """Return the way in."""
        return Endpoint(self.port, {"Authorization": f"Bearer {self._token}"})


class Stage:
    """Gives each benchmark the competitors that it names."""

    def __init__(self, directory: Path, databases: list[str]) -> None:
        self.databases = databases
        self._directory = directory
        self._stack = ExitStack()
        self._keepers: dict[str, Keeper] = {}
        self._floors: dict[str, Floor] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is not None:
            self._print_logs()

    def _print_logs(self) -> None:
        """Print how the log of each server ends, before the directory is removed."""
        for log in sorted(self._directory.rglob("output.log")):
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            sys.stderr.write("\n".join([f"--- {log.relative_to(self._directory)}", *lines, ""]))

    def keeper(self, database: str) -> Keeper:
        """Return Keeper on a database."""
        if database not in self._keepers:
            place = self._directory / f"keeper-{database}"
            self._keepers[database] = self._started(Keeper(place, self._url(database, "keeper_benchmark")))
        return self._keepers[database]

    def keeper_of_its_own(self, database: str, name: str) -> Keeper:
        """Return another Keeper, on a database that no other benchmark uses."""
        place = self._directory / f"keeper-{name}-{database}"
        return self._started(Keeper(place, self._url(database, f"keeper_{name}_benchmark")))

    def keeper_on_kms(self, database: str) -> tuple[Keeper, str]:
        """Return another Keeper, whose data keys a key of KMS (moto) wraps, and another such key."""
        moto = self._started(Moto(self._directory / f"kms-{database}"))
        url = f"http://127.0.0.1:{moto.port}"
        kms = boto3.client(
            "kms",
            endpoint_url=url,
            region_name=_REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        first, second = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
        variables = {
            "KEY_MANAGEMENT_BACKEND": "kms",
            "KMS_KEY_ID": first,
            "AWS_REGION": _REGION,
            "AWS_ENDPOINT_URL_KMS": url,
        }
        database_url = self._url(database, "keeper_kms_benchmark")
        place = self._directory / f"keeper-kms-{database}"
        return self._started(Keeper(place, database_url, variables)), second

    def idle_keepers(self, kind: type[K], database: str, rounds: int) -> Iterator[K]:
        """Yield Keepers of one installation, to be started one after the other; the first one makes it."""
        first = kind(self._directory / f"idle-{database}-0", self._url(database, "keeper_idle_benchmark"))
        for number in range(rounds + 1):
            server = kind(self._directory / f"idle-{database}-{number}", "") if number else first
            server.variables = first.variables
            self._stack.callback(server.stop)
            yield server

    def loaded_keeper(self, kind: type[K], database: str) -> K:
        """Return a Keeper with its worker, on a database of its own, that may connect to this machine."""
        place = self._directory / f"loaded-{database}"
        variables = {"KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8"}
        return self._started(kind(place, self._url(database, "keeper_load_benchmark"), variables))

    def idle_openbao(self) -> int:
        """Return the process id of an OpenBao that nobody asks for anything."""
        return self._started(OpenBao(self._directory / "idle-openbao")).pid or 0

    def floor(self, database: str) -> Floor:
        """Return the floor on a database."""
        if database not in self._floors:
            place = self._directory / f"floor-{database}"
            floor = Floor(place, self._url(database, "floor_benchmark"), threads=WEB_THREADS)
            self._floors[database] = self._started(floor)
        return self._floors[database]

    @cached_property
    def openbao(self) -> Endpoint:
        """OpenBao with the same secrets, on raft storage with a file audit device."""
        server = self._started(OpenBao(self._directory))
        endpoint = Endpoint(server.port, {"X-Vault-Token": server.token})
        all_of(server.port, openbao_writes(endpoint, "service"), clients=CLIENTS)
        return endpoint

    @cached_property
    def sync_servers(self) -> dict[str, dict[str, str]]:
        """What targets of the sync are in: moto, and an OpenBao besides the one that is raced against."""
        moto = self._started(Moto(self._directory / "sync-moto"))
        openbao = self._started(OpenBao(self._directory / "sync-openbao"))
        return {
            "aws_secrets_manager": {"url": f"http://127.0.0.1:{moto.port}", "pid": str(moto.pid)},
            "vault_kv2": {
                "url": f"http://127.0.0.1:{openbao.port}",
                "token": openbao.token,
                "pid": str(openbao.pid),
            },
        }

    @cached_property
    def _mariadb(self) -> str:
        """The URL of a MariaDB server, of the test runner or else of our own."""
        given = os.environ.get("KEEPER_TEST_MARIADB_URL")
        return given or self._started(MariaDb(self._directory)).environment()["KEEPER_TEST_MARIADB_URL"]

    def _url(self, database: str, name: str) -> str:
        if database == SQLITE:
            return f"sqlite:///{self._directory}/{name}.db"
        server = urlsplit(self._mariadb)
        address = [
            "--protocol=tcp",
            f"--host={server.hostname}",
            f"--port={server.port}",
            f"--user={server.username}",
        ]
        again = f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4"
        _run(["mariadb", "--no-defaults", "--skip-ssl", *address, "--execute", again], {})
        return server._replace(path=f"/{name}").geturl()

    def _started(self, server: S) -> S:
        self._stack.callback(server.stop)
        server.start()
        server.wait()
        return server


def openbao_writes(endpoint: Endpoint, prefix: str) -> list[bytes]:
    """Return the requests that write every secret to OpenBao, one by one."""
    return [
        endpoint.request(
            "POST", f"/v1/secret/data/{secret_name(n, prefix)}", {"data": {"value": secret_value(n)}}
        )
        for n in range(SECRETS)
    ]


def openbao_reads(endpoint: Endpoint) -> list[bytes]:
    """Return the requests that read every secret from OpenBao, one by one."""
    return [endpoint.request("GET", f"/v1/secret/data/{secret_name(n)}") for n in range(SECRETS)]


def _run(command: list[str], variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout
