"""Several web server processes of one Keeper, on a database and a KMS of their own, as in production."""

import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit
from uuid import uuid4

import boto3

from tests.aws_strict.faults import Plan
from tests.aws_strict.server import serving
from tests.processes import begin_on, commands_for_tokens, copy_schema, run_commands
from tests.servers.__main__ import installation
from tests.servers.server import Server, accepts, free_port

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
VALUE = "canary-77e1-value"
WAIT_SECONDS = 180


class Worker(Server):
    """`keeper run` without a worker: one process that serves pages and the API."""

    name: ClassVar[str] = "worker"
    program: ClassVar[str] = "granian"
    package: ClassVar[str] = "requirements.txt"

    def __init__(self, directory: Path, variables: Mapping[str, str], module: str) -> None:
        super().__init__(directory)
        self._variables, self._module = variables, module

    def command(self) -> list[str]:
        keeper = [
            sys.executable,
            "-m",
            self._module,
            "run",
            "--no-worker",
            "--port",
            str(self.port),
        ]
        return ["env", *(f"{name}={value}" for name, value in self._variables.items()), *keeper]

    def ready(self) -> bool:
        return accepts(self.port) and self.get("/readyz")[0] == 200

    def environment(self) -> dict[str, str]:
        return {}

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


class Fleet:
    """Two workers; `plan` says how KMS fails, `kms` is the operator's own view of it."""

    def __init__(
        self,
        directory: Path,
        moto_url: str,
        mariadb_url: str,
        *,
        module: str = "keeper_project.runtime.cli",
        schema: Path | None = None,
    ) -> None:
        self.plan, self._module = Plan(), module
        self._directory, self._moto_url, self._port = directory, moto_url, free_port()
        self._stack, self._kms_server = ExitStack(), ExitStack()
        self.kms = boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=moto_url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.key: str = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.alias = f"alias/fleet-{uuid4().hex[:12]}"
        self.kms.create_alias(AliasName=self.alias, TargetKeyId=self.key)
        self._mariadb = (
            urlsplit(mariadb_url)._replace(path=f"/fleet_{uuid4().hex[:8]}") if mariadb_url else None
        )
        begin_on(schema, directory / "var")
        self.variables = {
            **installation(directory / "var"),
            "KEY_MANAGEMENT_BACKEND": "kms",
            "KMS_KEY_ID": "",
            "KMS_KEY_ALIAS": self.alias,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{self._port}",
            "KMS_DEK_CACHE_TTL": "1",
            # Longer than a busy machine stands still: only one that hangs on purpose is to be waited for in vain.
            "KMS_TIMEOUT_SECONDS": "8",
            "KEEPER_LOG_FILE": "-",
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "PYTHONPATH": str(ROOT),
        }
        if self._mariadb:
            self.variables["DATABASE_URL"] = self._mariadb.geturl()
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self._stack.callback(self.kms.close)
        self._stack.callback(self._kms_server.close)
        self.reach_kms()
        if self._mariadb:
            self._on_server(f"CREATE DATABASE {self._mariadb.path[1:]} CHARACTER SET utf8mb4")
            copy_schema(self._mariadb)
        _, self.reader, self.viewer, self.editor = run_commands(
            self.variables, ["init_db"], *commands_for_tokens("reader", "viewer", "editor")
        )
        for number in range(2):
            worker = Worker(self._directory / str(number), self.variables, self._module)
            self._stack.callback(worker.stop)
            worker.start()
            self.workers.append(worker)
        for worker in self.workers:
            worker.wait()
        self.secret = self.store("payments/key", VALUE)

    @property
    def key_id(self) -> str:
        """The id of the KMS key, by which moto finds it in every operation."""
        return self.key.rpartition("/")[2]

    def store(self, name: str, value: str) -> int:
        """Store a secret and return its id."""
        body = {"environment_id": 1, "name": name, "secret_type": "TEXT", "value": value}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.workers[0].port}/api/secrets",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.editor}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            found: int = json.load(reply)["id"]
        return found

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this Keeper to its end."""
        process = self.begin(*arguments)
        out, error = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, error
        return subprocess.CompletedProcess(process.args, 0, out, error)

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Begin a command of this Keeper."""
        return subprocess.Popen(
            [sys.executable, "-m", "keeper_project.runtime.cli", *arguments],
            env={**self.variables, "PATH": "/usr/bin:/bin"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lose_kms(self) -> None:
        """Let nothing listen where KMS was."""
        self._kms_server.close()

    def reach_kms(self) -> None:
        """Let KMS be where it was."""
        self._kms_server.enter_context(serving(self._moto_url, port=self._port, plan=self.plan))

    def sql(self, statement: str) -> list[Any]:
        """Write to the database as somebody would who goes round Keeper."""
        if self._mariadb:
            return self._on_server(statement, self._mariadb.path[1:])
        with closing(sqlite3.connect(self._directory / "var" / "keeper.db", timeout=30)) as made:
            rows = made.execute(statement).fetchall()
            made.commit()
            return rows

    def _on_server(self, statement: str, database: str = "") -> list[Any]:
        with closing(self._connect(database)) as made:
            cursor = made.cursor()
            cursor.execute(statement)
            rows = list(cursor.fetchall())
            made.commit()
            return rows

    def _connect(self, database: str) -> Any:
        import MySQLdb

        assert self._mariadb is not None
        return MySQLdb.connect(
            host=self._mariadb.hostname or "",
            port=self._mariadb.port or 3306,
            user=self._mariadb.username or "",
            database=database,
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nobody record anything meanwhile, as somebody does who has a transaction open."""
        if self._mariadb is None:
            with closing(
                sqlite3.connect(self._directory / "var" / "keeper.db", isolation_level=None)
            ) as made:
                made.execute("BEGIN IMMEDIATE")
                yield
                made.execute("ROLLBACK")
            return
        with closing(self._connect(self._mariadb.path[1:])) as made:
            made.cursor().execute("SELECT * FROM audit_app_streamhead FOR UPDATE")
            yield
            made.rollback()

    def reveal(self, worker: Worker) -> tuple[int, str]:
        """Ask a worker for the value."""
        return worker.get(f"/api/secrets/{self.secret}", self.reader)

    def until_each(self, holds: Callable[[Worker], bool], what: str) -> None:
        """Ask every worker until something holds in it; each of them may let one wait."""

        def ask(worker: Worker) -> None:
            deadline = time.monotonic() + WAIT_SECONDS
            while not holds(worker):
                assert time.monotonic() < deadline, f"{what}:\n{worker.log.read_text()[-3000:]}"
                time.sleep(0.1)

        with ThreadPoolExecutor(len(self.workers)) as pool:
            list(pool.map(ask, self.workers))

    def until_revealed(self) -> None:
        self.until_each(lambda worker: VALUE in self.reveal(worker)[1], "no value came")

    def until_refused(self) -> None:
        self.until_each(lambda worker: self.reveal(worker)[0] in {409, 503}, "values came on")
