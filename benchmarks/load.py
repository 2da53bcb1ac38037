"""A mix of what programs and people ask for, all at once: times of each kind, errors, memory.

One value read far more often than anything, whole environments now and then, lists, writes, and a
sync with OpenBao behind them. No other product is asked: what counts is that nothing fails, that the
slow kinds do not hold up the fast one for long, and that memory stays where it was.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import ClassVar, Final

from benchmarks.idle import WholeKeeper
from benchmarks.measuring.client import Endpoint, Mixed, mixed
from benchmarks.measuring.processes import memory_mb
from benchmarks.measuring.scale import CLIENTS, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Figure, Row, Times
from benchmarks.measuring.values import secret_name, secret_value
from benchmarks.servers import ROOT, SECRETS

# Of so many requests, how many are of a kind.
MIX: Final = {"hot read": 120, "read": 40, "write": 20, "list": 14, "search": 4, "whole environment": 2}
_SEED: Final = 20_261_125
# Several times what a round of the other benchmarks takes: the rare kinds need their turns.
_ROUNDS_LONG: Final = 4
_HOT: Final = 5


class LoadedKeeper(WholeKeeper):
    """Keeper with its worker, holding the secrets, and a target of the sync for some of them."""

    name: ClassVar[str] = "loaded-keeper"

    def prepare_running(self) -> None:
        """Issue tokens and store the secrets, as the web server alone does."""
        self.store_secrets()

    def deliver_to(self, server: dict[str, str]) -> None:
        """Let what is written under `service/1` go to OpenBao by itself."""
        body = {
            "name": "openbao",
            "backend": "vault_kv2",
            "destination": {"address": server["url"], "prefix": "load"},
            "credentials": {"token": server["token"]},
            "scope": secret_name(0).partition("/")[0],
            "automatic": True,
            "interval_seconds": 60,
        }
        manager = Endpoint(self.port, {"Authorization": f"Bearer {self._token('manager')}"})
        manager.call("POST", "/api/environments/development/targets", body)

    def _token(self, role: str) -> str:
        command = [
            sys.executable,
            "-m",
            "keeper_project.runtime.cli",
            "issue-token",
            "--environment",
            "development",
        ]
        done = subprocess.run(
            [*command, "--role", role, "--name", role],
            env=self.child_environment(), cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Load Keeper on each database."""
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.loaded_keeper(LoadedKeeper, database)
        keeper.deliver_to(stage.sync_servers["vault_kv2"])
        requests = requests_of(keeper.client("development"), keeper.secret_ids)
        mixed(keeper.port, requests, clients=CLIENTS, seconds=scale.seconds)
        before = memory_mb(keeper.pid or 0)
        found = mixed(
            keeper.port, requests, clients=CLIENTS, seconds=scale.seconds * scale.rounds * _ROUNDS_LONG
        )
        rows += [*_rows(database, found), _memory(database, before, keeper)]
    return rows


def requests_of(endpoint: Endpoint, ids: list[int], *, seed: int = _SEED) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, request) for ever, in the proportions of MIX; the same ones for the same seed."""
    draw = random.Random(seed)
    kinds, weights = list(MIX), list(MIX.values())
    while True:
        (kind,) = draw.choices(kinds, weights)
        yield kind, _request(endpoint, kind, ids, draw)


def _request(endpoint: Endpoint, kind: str, ids: list[int], draw: random.Random) -> bytes:
    if kind == "hot read":
        return endpoint.request("GET", f"/api/secrets/{ids[draw.randrange(_HOT)]}")
    if kind == "write":
        value = {"value": secret_value(draw.randrange(SECRETS))}
        return endpoint.request("PUT", f"/api/secrets/{draw.choice(ids[_HOT:])}", value)
    paths = {
        "read": f"/api/secrets/{draw.choice(ids)}",
        "list": "/api/secrets?environment=development",
        "search": f"/api/secrets?q={draw.randrange(100)}",
        "whole environment": "/api/environments/development/export?format=json",
    }
    return endpoint.request("GET", paths[kind])


def _rows(database: str, found: Mixed) -> Iterator[Row]:
    for kind in MIX:
        if times := found.latencies.get(kind):
            yield Times(f"mixed load, {kind}", database, [each * 1000 for each in times])
    total = sum(len(times) for times in found.latencies.values())
    yield Figure("mixed load, requests/s", database, total / found.seconds)
    yield Figure("mixed load, errors", database, sum(found.errors.values()), maximum=0)
    if found.errors:
        sys.stderr.write(f"errors: {json.dumps(dict(found.errors))}\n")


def _memory(database: str, before: float, keeper: LoadedKeeper) -> Row:
    grown = memory_mb(keeper.pid or 0) - before
    return Figure("mixed load, memory of all processes, MB more after it", database, grown)
