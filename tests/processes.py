"""Processes of Keeper beside the test's own, asked over their pipes, and a database that they share."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

ROOT = Path(__file__).resolve().parents[1]


def begin_on(schema: Path | None, data: Path) -> None:
    """Make the directory of an installation; its database is a copy of a migrated one, if there is one."""
    data.mkdir(mode=0o700)
    if schema:
        shutil.copyfile(schema, data / "keeper.db")
        (data / "keeper.db").chmod(0o600)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # Before it is opened, and between that and the reading.
        return False


def run_commands(variables: Mapping[str, str], *commands: Sequence[str]) -> list[str]:
    """Run several commands of a Keeper to their ends, in one process, and return what each one printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.several_commands", json.dumps(commands)],
        env={**variables, "DJANGO_SETTINGS_MODULE": "keeper_project.settings"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # What comes before is the log, where it goes to standard output.
    printed: list[str] = json.loads(done.stdout.splitlines()[-1])
    return printed


def commands_for_tokens(*roles: str) -> list[list[str]]:
    """Return the commands that issue a token for `development` to each role, named like its role."""
    return [["issue_token", "--environment", "development", "--role", role, "--name", role] for role in roles]


class Process:
    """A module's `main` once Django is set up: it takes one JSON object a line, and answers each with one."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        with (Path(environment["KEEPER_DATA_DIR"]) / "fleet.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import django; django.setup(); from {module} import main; main()"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Ask for something and return the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith('{"at":'):
                continue  # A line of the log.
            answer: dict[str, Any] = json.loads(line)
            return answer
        raise AssertionError("a process of the fleet is gone")

    def end(self) -> None:
        """Let it end."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture
def database(tmp_path: Path, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The URL of a database of the kind that the suite runs on, with its schema, copied: faster than migrated."""
    if connection.vendor == "sqlite":
        path = tmp_path / "keeper.db"
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(path)])
        yield f"sqlite:///{path}"
        return
    name = f"killed_{os.getpid()}"
    url = urlsplit(os.environ["KEEPER_TEST_MARIADB_URL"])._replace(path=f"/{name}")
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            copy_schema(url)
            yield url.geturl()
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def copy_schema(url: SplitResult) -> None:
    """Fill an empty database of MariaDB with what the suite's own one holds: tables, and what migrations left."""
    own = connection.settings_dict
    statements = _dump(own["HOST"], own["PORT"], own["USER"], own["PASSWORD"] or "", own["NAME"])
    # As after a first migration, each table begins to count at one.
    load(url, re.sub(rb" AUTO_INCREMENT=\d+", b"", statements))


def dumped(url: SplitResult) -> bytes:
    """Return a database of MariaDB as statements."""
    return _dump(url.hostname, url.port, url.username, url.password or "", url.path[1:])


def _dump(host: object, port: object, user: object, password: str, name: str) -> bytes:
    command = _at("mariadb-dump", host, port, user, "--single-transaction", name)
    environment = {**os.environ, "MYSQL_PWD": password}
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout


def load(url: SplitResult, statements: bytes) -> None:
    """Run statements in a database of MariaDB."""
    command = _at("mariadb", url.hostname, url.port, url.username, url.path[1:])
    environment = {**os.environ, "MYSQL_PWD": url.password or ""}
    subprocess.run(command, env=environment, input=statements, check=True)


def _at(program: str, host: object, port: object, user: object, *arguments: str) -> list[str]:
    return [program, f"--host={host}", f"--port={port}", f"--user={user}", "--protocol=tcp", *arguments]
