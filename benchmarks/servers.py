"""The servers of a run: Keeper, the bare framework, and the databases and OpenBao as they are deployed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, ClassVar

from benchmarks.measuring.client import Endpoint, UnexpectedAnswer, all_of
from benchmarks.measuring.scale import BY_NAME
from benchmarks.measuring.values import secret_name, secret_value
from tests.servers.__main__ import installation
from tests.servers.mariadb import MariaDb
from tests.servers.openbao import OpenBao
from tests.servers.server import Server, accepts

SECRETS = 1000
ROOT = Path(__file__).resolve().parent.parent
# On two cores, two processes serve more reads of the floor than one, and more threads no more.
FLOOR_PROCESSES = 2
FLOOR_THREADS = 4
# What a call of Keeper's API creates at most.
_A_CALL = 1000
# OpenBao's log takes the writes of many clients by one commit.
_FILLING_CLIENTS = 64
_OBJECT = "/v1/secret/data/whole-environment"
# What a token of Keeper's editor may do: read and write values, and list names, in one environment.
_POLICY = """
path "secret/data/*" { capabilities = ["create", "read", "update", "patch"] }
path "secret/metadata/*" { capabilities = ["list"] }
"""
_KEYS_PER_PATCH = 250
_NOT_DURABLE = ("--innodb-flush-log-at-trx-commit=", "--innodb-flush-method=")


class DurableMariaDb(MariaDb):
    """MariaDB with its defaults: a commit is on the disk when it returns."""

    name: ClassVar[str] = "durable-mariadb"

    def command(self) -> list[str]:
        """Return mariadbd without what the tests relax."""
        return [part for part in super().command() if not part.startswith(_NOT_DURABLE)]

    def execute(self, statements: str) -> str:
        """Execute SQL as root and return the rows, without names of columns."""
        address = ["--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}", "--user=root"]
        options = ["--no-defaults", "--skip-ssl", "--skip-column-names", "--batch"]
        return run(["mariadb", *options, *address, "--execute", statements], {})


class Keeper(Server):
    """Keeper as `keeper run` serves it, without the worker; `development` holds the secrets."""

    name: ClassVar[str] = "keeper"
    program: ClassVar[str] = "granian"
    package: ClassVar[str] = "requirements.txt"

    def __init__(
        self,
        directory: Path,
        database_url: str,
        variables: Mapping[str, str] | None = None,
        *,
        secrets: int = SECRETS,
    ) -> None:
        super().__init__(directory)
        self.variables = {
            **installation(self.directory / "var"),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            # Each request is counted all the same: one token makes all requests of a benchmark.
            "KEEPER_TOKEN_REQUESTS_PER_MINUTE": "100000000",
            "PYTHONPATH": str(ROOT),
            **(variables or {}),
        }
        self.secrets = secrets
        self.secret_ids: list[int] = []
        self.exported_ids: list[int] = []
        self.prepared: dict[str, Any] = {}

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
        self.prepared = self.inside("benchmarks.inside:prepare")
        for start in range(0, self.secrets, _A_CALL):
            numbers = range(start, min(self.secrets, start + _A_CALL))
            self.secret_ids += self.create("development", numbers)

    def client(self, environment: str) -> Endpoint:
        """Return the way in with an editor's token for an environment."""
        return Endpoint(self.port, {"Authorization": f"Bearer {self.prepared['tokens'][environment]}"})

    def take_over(self, other: "Keeper") -> None:
        """Continue another Keeper's installation at its address; that one has stopped."""
        self.port, self.variables = other.port, other.variables
        self.secrets, self.secret_ids, self.exported_ids = other.secrets, other.secret_ids, other.exported_ids
        self.prepared, self.export_request = other.prepared, other.export_request

    def read_paths(self, way: str) -> list[str]:
        """Return where each secret is read, by its id or by its name."""
        if way == BY_NAME:
            names = [secret_name(number) for number in range(self.secrets)]
            return [f"/api/environments/development/secrets/{name}" for name in names]
        return [f"/api/secrets/{number}" for number in self.secret_ids]

    @cached_property
    def export_request(self) -> bytes:
        """The request that exports the environment `production`, which holds a thousand secrets.

        Raises RuntimeError if the export holds another number of them.
        """
        self.exported_ids = self.create("production", range(SECRETS), "exported")
        client, path = self.client("production"), "/api/environments/production/export?format=json"
        found = client.call("GET", path)
        if len(found) != SECRETS:
            raise RuntimeError(f"the export holds {len(found)} secrets instead of {SECRETS}")
        return client.request("GET", path)

    def changes_before_exports(self, count: int) -> list[bytes]:
        """Return requests in turn: one that changes an exported secret, and the export.

        Each secret has two new values, so that sent over and over each write is one.
        """
        export, client = self.export_request, self.client("production")
        changes = [
            client.request(
                "PUT", f"/api/secrets/{self.exported_ids[n % (count // 2)]}", {"value": token_urlsafe(30)}
            )
            for n in range(count)
        ]
        return [request for change in changes for request in (change, export)]

    def bulk_request(self, environment: str, numbers: range, prefix: str = "service") -> bytes:
        """Return the request that creates these secrets in one call."""
        items = [
            {"name": secret_name(n, prefix), "secret_type": "PASSWORD", "value": secret_value(n)}
            for n in numbers
        ]
        body = {"environment_id": self.prepared["environments"][environment], "secrets": items}
        return self.client(environment).request("POST", "/api/secrets/bulk", body)

    def create(self, environment: str, numbers: range, prefix: str = "service") -> list[int]:
        """Create up to 1,000 secrets in one call and return their ids."""
        body = json.loads(self.bulk_request(environment, numbers, prefix).partition(b"\r\n\r\n")[2])
        answer = self.client(environment).call("POST", "/api/secrets/bulk", body)
        return [item["id"] for item in answer["results"]]

    def child_environment(self) -> dict[str, str]:
        """Return the variables of a process of this Keeper."""
        return {**os.environ, **self.variables}

    def inside(self, function: str, **arguments: Any) -> Any:
        """Call MODULE:FUNCTION in a process of this Keeper and return what it returns."""
        command = [sys.executable, "-m", "benchmarks.inside", function, json.dumps(arguments)]
        return json.loads(run(command, self.variables))


class Floor(Server):
    """The bare framework, served by the same program, by as many processes and threads as help it."""

    name: ClassVar[str] = "floor"
    program: ClassVar[str] = "granian"
    package: ClassVar[str] = "requirements.txt"

    def __init__(self, directory: Path, database_url: str, *, secrets: int = SECRETS) -> None:
        super().__init__(directory)
        self.secrets = secrets
        self.variables = {
            "FLOOR_DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.floor.settings",
            "PYTHONPATH": str(ROOT),
        }
        self._token = token_urlsafe(32)

    def prepare(self) -> None:
        """Make the tables and fill them."""
        run([sys.executable, "-m", "benchmarks.floor", str(self.secrets), self._token], self.variables)

    def command(self) -> list[str]:
        """Return the web server as Keeper starts it."""
        size = [str(FLOOR_PROCESSES), str(FLOOR_THREADS)]
        served = [sys.executable, "-m", "benchmarks.floor.serve", str(self.port), *size]
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


class FilledOpenBao(OpenBao):
    """OpenBao with as many secrets, at the same names."""

    def __init__(self, directory: Path, *, secrets: int = SECRETS) -> None:
        super().__init__(directory)
        self.secrets = secrets
        self._program_token = ""

    def prepare_running(self) -> None:
        """Store the secrets, and issue the token of a program."""
        super().prepare_running()
        root = self.root_client()
        all_of(self.port, openbao_writes(root, range(self.secrets)), clients=_FILLING_CLIENTS)
        root.call("PUT", "/v1/sys/policies/acl/program", {"policy": _POLICY})
        issued = root.call("POST", "/v1/auth/token/create", {"policies": ["program"], "period": "24h"})
        self._program_token = issued["auth"]["client_token"]

    def client(self) -> Endpoint:
        """Return the way in as a program has it: by a service token with a policy."""
        return Endpoint(self.port, {"X-Vault-Token": self._program_token})

    def root_client(self) -> Endpoint:
        """Return the way in by the root token, for which OpenBao reads no policy and no lease."""
        return Endpoint(self.port, {"X-Vault-Token": self.token})

    @cached_property
    def object_request(self) -> bytes:
        """The request that reads one object of a thousand secrets."""
        client = self.client()
        client.call("POST", _OBJECT, {"data": {}})
        # In parts: OpenBao takes a thousand strings in a request.
        for start in range(0, SECRETS, _KEYS_PER_PATCH):
            part = range(start, min(SECRETS, start + _KEYS_PER_PATCH))
            client.call("PATCH", _OBJECT, {"data": {secret_name(n): secret_value(n) for n in part}})
        stored = client.call("GET", _OBJECT)["data"]["data"]
        if len(stored) != SECRETS:
            raise RuntimeError(f"the object holds {len(stored)} secrets instead of {SECRETS}")
        return client.request("GET", _OBJECT)

    def changes_before_objects(self, count: int) -> list[bytes]:
        """Return requests in turn: one that changes a secret in that object as above, and the read of it."""
        read, client = self.object_request, self.client()
        changes = [
            client.request("PATCH", _OBJECT, {"data": {secret_name(n % (count // 2)): token_urlsafe(30)}})
            for n in range(count)
        ]
        return [request for change in changes for request in (change, read)]


def openbao_path(number: int, prefix: str = "service") -> str:
    """Return where OpenBao has a secret."""
    return f"/v1/secret/data/{secret_name(number, prefix)}"


def openbao_writes(endpoint: Endpoint, numbers: range, prefix: str = "service") -> list[bytes]:
    """Return the requests that write these secrets to OpenBao, one by one."""
    return [
        endpoint.request("POST", openbao_path(n, prefix), {"data": {"value": secret_value(n)}})
        for n in numbers
    ]


def openbao_reads(endpoint: Endpoint) -> list[bytes]:
    """Return the requests that read a thousand secrets from OpenBao, one by one."""
    return [endpoint.request("GET", openbao_path(n)) for n in range(SECRETS)]


def run(command: list[str], variables: Mapping[str, str]) -> str:
    """Run a program to its end and return what it prints. Raises CalledProcessError."""
    done = subprocess.run(
        command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout
