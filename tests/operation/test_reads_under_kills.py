"""Clients read values while processes and the database are killed, and tokens revoked.

Each answer that held a value has its committed event, the log verifies, and no value was served to a request
that began after its token's revocation was acknowledged.
"""

import http.client
import json
import random
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import MySQLdb
import pytest
from django.db import connection

from tests.processes import copy_schema
from tests.servers.mariadb import MariaDb
from tests.soak.keeper import Keeper, NotAnswered

CLIENTS: Final = 32
FAULT: Final = "engine with a recorded batch"
SERVING: Final = ("read engine", "web process", "web server")
SECRETS: Final = 50
VALUE: Final = "canary-3c6d-value"
REVOKE_SECONDS: Final = 0.7
REST_SECONDS: Final = 0.3
VALUES_FOR_EACH_KILL: Final = 50
TOKENS: Final = 5
PATIENCE_SECONDS: Final = 300
_REVEALED: Final = (
    "SELECT request_id FROM audit_app_auditevent WHERE action = 'secret.reveal' AND outcome = 'allowed'"
)


class FaultyKeeper(Keeper):
    """`keeper run` without a worker, whose read engine can be told to end before it answers."""

    roles = ("manager",)

    def __init__(self, directory: Path, database: MariaDb | None, schema: Path | None) -> None:
        super().__init__(directory, schema=schema)
        self.fault = directory / "fault"
        self.database = database
        self.variables |= {
            "FAULT_FILE": str(self.fault),
            "KEEPER_REFUSALS_PER_MINUTE": "1000000",
            # Checkpoints are made by the worker, which does not run here.
            "KEEPER_AUDIT_SINKS": "",
        }
        if database:
            self.variables["DATABASE_URL"] = database.environment()["KEEPER_TEST_MARIADB_URL"]

    def command(self) -> list[str]:
        run = [
            sys.executable,
            "-m",
            "tests.operation.faulty_run",
            "run",
            "--no-worker",
            "--port",
            str(self.port),
        ]
        return ["env", *(f"{name}={value}" for name, value in self.variables.items()), *run]

    def is_ready(self) -> bool:
        try:
            return self.ask_plainly("/readyz") == 200
        except OSError:
            return False

    def ask_plainly(self, path: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as asking:
            asking.request("GET", path)
            return asking.getresponse().status

    def recorded(self) -> set[str]:
        """Return the request ids of all recorded reads, by a way that is none of Keeper's."""
        if not self.database:
            with closing(sqlite3.connect(self.data / "keeper.db")) as stored:
                return {row[0] for row in stored.execute(_REVEALED)}
        with closing(
            MySQLdb.connect(host="127.0.0.1", port=self.database.port, user="root", db="keeper")
        ) as stored:
            cursor = stored.cursor()
            cursor.execute(_REVEALED)
            return {row[0] for row in cursor.fetchall()}


@dataclass
class Token:
    """A token that clients use; `revoked_at` is when its revocation was acknowledged."""

    id: int
    text: str
    revoked_at: float = float("inf")


@dataclass
class Readers:
    """Threads that read random secrets by the token of the moment, and now and then by the one before it."""

    keeper: FaultyKeeper
    ids: list[int]
    tokens: list[Token]
    revealed: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    ends: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        draw = random.Random(number)
        while not self.ends.is_set():
            asking = http.client.HTTPConnection("127.0.0.1", self.keeper.port, timeout=30)
            with closing(asking), suppress(OSError, http.client.HTTPException):
                while not self.ends.is_set():
                    self._read(asking, draw)
                    # Each rests, so that together they leave the machine some time.
                    time.sleep(draw.random() * REST_SECONDS)
            time.sleep(0.05)

    def _read(self, asking: http.client.HTTPConnection, draw: random.Random) -> None:
        token = draw.choice(self.tokens[-2:])
        place = draw.randrange(len(self.ids))
        path = (
            f"/api/secrets/{self.ids[place]}"
            if draw.random() < 0.5
            else f"/api/environments/development/secrets/kills/{place}"
        )
        began = time.monotonic()
        asking.request("GET", path, headers={"Authorization": f"Bearer {token.text}"})
        answer = asking.getresponse()
        body = answer.read()
        self.statuses[answer.status] += 1
        if VALUE.encode() in body:
            self.revealed.add(str(answer.headers["X-Request-ID"]))
            if began > token.revoked_at:
                self.wrong.append(f"a value {began - token.revoked_at:.3f} s after the revocation")
            if json.loads(body)["value"] != f"{VALUE}-{place}":
                self.wrong.append("the value of another secret")


@pytest.fixture
def keeper(tmp_path: Path, schema: Path | None) -> Iterator[FaultyKeeper]:
    # A server of its own: it is killed.
    database = MariaDb(tmp_path) if connection.vendor == "mysql" else None
    started = FaultyKeeper(tmp_path, database, schema)
    try:
        if database:
            database.start()
            database.wait()
            copy_schema(urlsplit(database.environment()["KEEPER_TEST_MARIADB_URL"]))
        started.start()
        started.wait()
        yield started
    finally:
        started.stop()
        if database:
            database.stop()


def fill(keeper: FaultyKeeper) -> list[int]:
    items = [{"name": f"kills/{n}", "secret_type": "TEXT", "value": f"{VALUE}-{n}"} for n in range(SECRETS)]
    status, made = keeper.ask(
        "manager", "POST", "/api/secrets/bulk", {"environment": "development", "secrets": items}
    )
    assert status == 201, made
    ids: dict[str, Any] = {each["name"]: each["id"] for each in made["results"]}  # type: ignore[attr-defined]
    return [ids[f"kills/{n}"] for n in range(SECRETS)]


def issue(keeper: FaultyKeeper) -> Token:
    body = {"role": "reader", "name": "kills"}
    _, made = keeper.ask("manager", "POST", "/api/environments/development/tokens", body)
    return Token(int(str(made["id"])), str(made["token"]))


def replace_token(keeper: FaultyKeeper, readers: Readers) -> None:
    with suppress(NotAnswered):
        readers.tokens.append(issue(keeper))
        old = readers.tokens[-2]
        status, _ = keeper.ask("manager", "DELETE", f"/api/environments/development/tokens/{old.id}")
        if status == 204:
            old.revoked_at = time.monotonic()


def kill(keeper: FaultyKeeper, victim: str) -> None:
    if victim == FAULT:
        keeper.fault.touch()
    elif victim == "database":
        assert keeper.database
        keeper.database.kill()
        time.sleep(1)
        keeper.database.start_again()
    else:
        keeper.kill_one(victim)


def live_through(keeper: FaultyKeeper, readers: Readers, seconds: float, kill_every: float) -> Counter[str]:
    victims = [FAULT, *SERVING, *(["database"] if keeper.database else [])]
    kills: Counter[str] = Counter()
    began = time.monotonic()
    next_kill = began + kill_every

    def is_enough() -> bool:
        """Say whether enough came about to judge by: a busy machine takes longer."""
        values, wanted = len(readers.revealed), len(victims) * VALUES_FOR_EACH_KILL
        return len(kills) == len(victims) and len(readers.tokens) >= TOKENS and values >= wanted

    while (passed := time.monotonic() - began) < seconds or (not is_enough() and passed < PATIENCE_SECONDS):
        replace_token(keeper, readers)
        time.sleep(REVOKE_SECONDS)
        # Once its time is over, what was killed has all the time that it takes to serve again.
        if time.monotonic() > next_kill and (passed < seconds or len(kills) < len(victims)):
            victim = victims[sum(kills.values()) % len(victims)]
            kill(keeper, victim)
            kills[victim] += 1
            next_kill = time.monotonic() + kill_every
    return kills


def check(keeper: FaultyKeeper, seconds: float, kill_every: float) -> None:
    readers = Readers(keeper, fill(keeper), [issue(keeper), issue(keeper)])
    threads = [threading.Thread(target=readers.run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        kills = live_through(keeper, readers, seconds, kill_every)
    finally:
        readers.ends.set()
        for thread in threads:
            thread.join()
    keeper.until(keeper.is_ready)
    assert readers.wrong == []
    assert len(kills) == len(SERVING) + (2 if keeper.database else 1)
    assert len(readers.revealed) >= VALUES_FOR_EACH_KILL * len(kills), readers.statuses
    assert len(readers.tokens) >= TOKENS
    assert readers.revealed <= keeper.recorded()
    assert ", 0 problems" in keeper.run("verify-audit")
    assert VALUE not in keeper.log.read_text()
    sys.stderr.write(f"{len(readers.revealed)} values, {dict(readers.statuses)}, kills {dict(kills)}\n")


@pytest.mark.every_database
def test_each_value_has_its_event_whatever_is_killed(keeper: FaultyKeeper) -> None:
    check(keeper, seconds=12 if keeper.database else 10, kill_every=2)
    assert not keeper.fault.exists()


@pytest.mark.torture
@pytest.mark.every_database
def test_each_value_has_its_event_for_ten_minutes(keeper: FaultyKeeper) -> None:
    check(keeper, seconds=600, kill_every=15)
