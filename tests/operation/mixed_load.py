"""A mix of what programs and people ask for, and a Keeper with its worker that delivers to OpenBao meanwhile."""

import random
import subprocess
import sys
from collections.abc import Iterator
from typing import ClassVar, Final

from benchmarks.idle import WholeKeeper
from benchmarks.measuring.client import Endpoint
from benchmarks.measuring.values import secret_name, secret_value
from benchmarks.servers import ROOT, SECRETS

# Of so many requests, how many are of a kind.
MIX: Final = {"hot read": 120, "read": 40, "write": 20, "list": 14, "search": 4, "whole environment": 2}
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


def requests_of(endpoint: Endpoint, ids: list[int], *, seed: int) -> Iterator[tuple[str, bytes]]:
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
