"""Keepers on the nodes of one Galera cluster, and programs that write by all of them at once."""

import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit
from uuid import uuid4

import requests
from django.db import connection

from tests.processes import commands_for_tokens, copy_schema, run_commands
from tests.servers.galera import Cluster
from tests.servers.server import accepts
from tests.soak.keeper import Keeper

HOT: Final = 12
# From that many secrets on, a program creates few others: each is read back at the end.
MANY: Final = 1000
# A cluster that has lost a node answers again within seconds.
ANSWER_SECONDS: Final = 30


class GaleraKeeper(Keeper):
    """`keeper run` whose DATABASE_URL begins with one of the nodes; `like` has the keys, and set up the database."""

    name: ClassVar[str] = "galera-keeper"

    def __init__(
        self, directory: Path, url: str, *, like: "GaleraKeeper | None" = None, worker: bool
    ) -> None:
        super().__init__(directory)
        self._like, self._worker = like, worker
        self.variables |= {
            "DATABASE_URL": url,
            "KEEPER_REFUSALS_PER_MINUTE": "1000000",
            "KEEPER_LOG_FILE": "-",
        }

    def command(self) -> list[str]:
        return [*super().command(), *([] if self._worker else ["--no-worker"])]

    def prepare(self) -> None:
        if self._like is None:
            super().prepare()
            _, *tokens = run_commands(
                {**self._environment(), **self.variables}, ["init_db"], *commands_for_tokens(*self.roles)
            )
            self.tokens = dict(zip(self.roles, tokens, strict=True))
        else:
            shutil.copytree(self._like.data, self.data)
            self.tokens = self._like.tokens

    def prepare_running(self) -> None:
        return

    def is_ready(self) -> bool:
        try:
            return requests.get(self.url("/readyz"), timeout=ANSWER_SECONDS).status_code == 200
        except requests.RequestException:
            return False

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin:/usr/sbin"}


@dataclass
class Written:
    """What a program wrote to a secret of its own, or to one that all write to."""

    id: int
    # Each value that was acknowledged, and each of which no answer came.
    acknowledged: list[str] = field(default_factory=list)
    in_doubt: list[str] = field(default_factory=list)


class Load:
    """Threads that create and change secrets by all Keepers, and note what each of them answered."""

    def __init__(self, keepers: list[GaleraKeeper], *, threads: int, seed: int) -> None:
        self.keepers, self.answers = keepers, Counter[str]()
        self.stale = 0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._pause = float(os.environ.get("GALERA_PAUSE") or 0)
        self._own: list[dict[str, Written]] = [{} for _ in range(threads)]
        self.names_in_doubt: set[str] = set()
        self._hot = [Written(self._create(f"hot/{number}", "first"), ["first"]) for number in range(HOT)]
        self._threads = [
            threading.Thread(target=self._write, args=(number, random.Random(f"{seed} {number}")))
            for number in range(threads)
        ]

    def begin(self) -> None:
        for each in self._threads:
            each.start()

    def end(self) -> None:
        """Let each program finish its request."""
        self._over.set()
        for each in self._threads:
            each.join()

    @property
    def secrets(self) -> dict[str, Written]:
        """What was written, by name."""
        hot = {f"hot/{number}": each for number, each in enumerate(self._hot)}
        return hot | {name: each for own in self._own for name, each in own.items()}

    def missing(self) -> list[str]:
        """Return what was acknowledged and is not stored, or is stored twice."""
        with ThreadPoolExecutor(6) as pool:
            found = pool.map(lambda item: [*_missing(self.keepers[0], *item)], self.secrets.items())
            return [problem for each in found for problem in each]

    def refused(self) -> float:
        """Return the share of answered writes that were answered 5xx."""
        writes = {kind: number for kind, number in self.answers.items() if kind.startswith("write ")}
        writes.pop("write without an answer", None)
        failed = sum(number for kind, number in writes.items() if kind.startswith("write 5"))
        return failed / max(sum(writes.values()), 1)

    def _write(self, number: int, draw: random.Random) -> None:
        own, session = self._own[number], requests.Session()
        while not self._over.wait(self._pause):
            keeper = self.open_keeper(number)
            value = uuid4().hex
            choice = draw.random()
            if choice < (0.3 if len(own) < MANY else 0.03) or not own:
                name = f"own/{number}/{uuid4().hex[:12]}"
                status, body = self._ask(session, keeper, "POST", "/api/secrets", _new(name, value))
                if status == 201:
                    own[name] = Written(body["id"], [value])
                else:
                    with self._lock:
                        self.names_in_doubt.add(name)
            else:
                written = draw.choice(self._hot) if choice < 0.6 else draw.choice(list(own.values()))
                status, _ = self._ask(session, keeper, "PUT", f"/api/secrets/{written.id}", {"value": value})
                with self._lock:
                    if status == 200:
                        written.acknowledged.append(value)
                    else:
                        # Also of a 503: the node may have died with its answer to the COMMIT.
                        written.in_doubt.append(value)
                if status == 200 and choice >= 0.6:
                    self._read_elsewhere(session, number, written, value)

    def open_keeper(self, number: int) -> GaleraKeeper:
        """Return the Keeper of a number, or the first after it that listens, as a load balancer finds it."""
        first = number % len(self.keepers)
        turn = [*self.keepers[first:], *self.keepers[:first]]
        return next((each for each in turn if accepts(each.port)), turn[0])

    def _read_elsewhere(self, session: requests.Session, number: int, written: Written, value: str) -> None:
        """Read by another node what was just acknowledged: nobody else writes to this one."""
        other = self.open_keeper(number + 1)
        status, body = self._ask(session, other, "GET", f"/api/secrets/{written.id}")
        if status == 200 and body["value"] != value:
            with self._lock:
                self.stale += 1

    def _ask(
        self, session: requests.Session, keeper: GaleraKeeper, method: str, path: str, body: Any = None
    ) -> tuple[int, Mapping[str, Any]]:
        role = "reader" if method == "GET" else "editor"
        try:
            answer = session.request(
                method, keeper.url(path), json=body, timeout=ANSWER_SECONDS,
                headers={"Authorization": f"Bearer {keeper.tokens[role]}"},
            )  # fmt: skip
            status, found = answer.status_code, answer.json()
        except requests.RequestException:
            status, found = 0, {}
        with self._lock:
            self.answers[f"{'read' if method == 'GET' else 'write'} {status or 'without an answer'}"] += 1
        return status, found

    def _create(self, name: str, value: str) -> int:
        status, body = self._ask(
            requests.Session(), self.keepers[0], "POST", "/api/secrets", _new(name, value)
        )
        assert status == 201, body
        found: int = body["id"]
        return found


def _new(name: str, value: str) -> dict[str, Any]:
    return {"environment_id": 1, "name": name, "secret_type": "TEXT", "value": value}


def _missing(keeper: GaleraKeeper, name: str, written: Written) -> Iterator[str]:
    """Yield what is wrong with a secret: each acknowledged value made one version, and nothing else made any."""
    _, found = keeper.ask("reader", "GET", f"/api/secrets/{written.id}")
    # No value is written twice, so that each write that was carried out made a version.
    number, least = found["version"], len(written.acknowledged)
    assert isinstance(number, int)
    if not least <= number <= least + len(written.in_doubt):
        yield f"{name}: {number} versions of {least} acknowledged and {len(written.in_doubt)} in doubt"
    if found["value"] not in {*written.acknowledged, *written.in_doubt}:
        yield f"{name}: its value is none that was written"


def start(
    directory: Path, cluster: Cluster, keepers: list[GaleraKeeper], *, worker: bool, proxy: int = 0
) -> None:
    """Start one Keeper for each node; add them to a list.

    Each one tries its own node first, unless all of them know nothing but the port of a proxy.
    """
    urls = [
        f"mysql://root@127.0.0.1:{proxy}/keeper" if proxy else cluster.url(number)
        for number in range(len(cluster.nodes))
    ]
    first = GaleraKeeper(directory / "0", urls[0], worker=worker)
    keepers.append(first)
    if connection.vendor == "mysql":
        # Faster than to migrate.
        copy_schema(urlsplit(cluster.nodes[0].environment()["KEEPER_TEST_MARIADB_URL"]))
    first.start()
    for number, url in enumerate(urls[1:], start=1):
        keepers.append(GaleraKeeper(directory / str(number), url, like=first, worker=worker))
        keepers[-1].start()
    for each in keepers:
        each.wait()
