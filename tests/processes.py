"""Processes of Keeper beside the test's own, asked over their pipes, and a database that they share."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

ROOT = Path(__file__).resolve().parents[1]


class Process:
    """A module that runs, takes one JSON object a line, and answers each with one."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        with (Path(environment["KEEPER_DATA_DIR"]) / "fleet.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
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
def database(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The URL of an empty database of the kind that the suite runs on."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'keeper.db'}"
        return
    name = f"killed_{os.getpid()}"
    url = urlsplit(os.environ["KEEPER_TEST_MARIADB_URL"])._replace(path=f"/{name}")
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield url.geturl()
        cursor.execute(f"DROP DATABASE {name}")
