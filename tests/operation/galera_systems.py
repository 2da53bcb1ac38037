"""Systems beside the cluster that Keeper changes: OpenBao, to which it delivers, and a database whose logins rotate.

Each of them remembers what it was told, so that what was done twice is seen there as well.
"""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from tests.operation.galera_load import HOT, GaleraKeeper
from tests.servers.galera import Cluster
from tests.servers.mariadb import RotatedMariaDb
from tests.soak.keeper import NotAnswered

ENVIRONMENT: Final = "/api/environments/development"
POLICIES: Final = 4
# Those of the program that writes, plans and applies.
WARM: Final = 6
# The shortest that a policy and a target may have.
INTERVAL_SECONDS: Final = 60
GRACE_SECONDS: Final = 10
POLL_SECONDS: Final = 1
# More than are written: by default the oldest of ten is forgotten.
MOST_VERSIONS: Final = 100_000
ATTEMPTS: Final = 10
BETWEEN_PASSES_SECONDS: Final = 5
# Until the lease of a worker that died is over, and its run or rotation is at its end.
SETTLE_SECONDS: Final = 300
_ENDED: Final = {"done", "failed", "cancelled"}
_SET: Final = re.compile(r"ALTER USER .* IDENTIFIED WITH \S+ AS '([^']+)'.* ACCOUNT UNLOCK")


class Systems:
    """A target of the hot secrets, which syncs by itself; one of a program, which plans and applies; and policies."""

    def __init__(
        self, keepers: list[GaleraKeeper], cluster: Cluster, openbao: tuple[str, str], server: RotatedMariaDb
    ) -> None:
        self.keepers, self.cluster = keepers, cluster
        self.targets = {name: VaultWorld(*openbao) for name in _SCOPES}
        self.targets["automatic"].kv.configure(max_versions=MOST_VERSIONS, mount_point="secret")
        self.worlds = {f"rotated/{number}": MariaDbWorld(server) for number in range(POLICIES)}
        self.passes = Counter[str]()
        self._over = threading.Event()
        for number in range(WARM):
            secret = {"environment_id": 1, "name": f"warm/{number}", **_secret(uuid4().hex)}
            self._made("editor", "/api/secrets", secret)
        self._ids = {name: self._make_target(name, world) for name, world in self.targets.items()}
        for name, world in self.worlds.items():
            self._make_policy(name, world)
        self._thread = threading.Thread(target=self._plan_and_apply)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the program end its pass, and wait until all is delivered and no rotation is at work."""
        self._over.set()
        self._thread.join()
        self._over.clear()
        deadline = time.monotonic() + SETTLE_SECONDS
        while undone := [*self._undelivered()]:
            assert time.monotonic() < deadline, undone
            self._pass(self.keepers[0])

    def problems(self) -> list[str]:
        """Return what was done twice, by Keeper's own tables and by the systems, and what does not fit."""
        return [*self._rows_of_twice(), *self._delivered_twice(), *self._rotated_twice()]

    def done(self) -> dict[str, int]:
        """Return how many passes and rotations came to their end."""
        return {
            "syncs": len(self._rows("SELECT id FROM sync_app_run WHERE kind = 'sync' AND state = 'done'")),
            "applied": len(self._rows("SELECT id FROM sync_app_run WHERE kind = 'apply' AND state = 'done'")),
            "written": sum(1 for each in self.targets.items() for _ in _versions(*each)),
            "failed": len(self._rows("SELECT id FROM sync_app_run WHERE state = 'failed'")),
            "claimed again": len(self._rows("SELECT id FROM sync_app_run WHERE epoch > 1")),
            "rotations": len(self._rows("SELECT id FROM sync_app_rotation WHERE step = 'done'")),
            "passwords set": sum(len([*self._passwords(world)]) for world in self.worlds.values()),
        }

    # --- What is set up ---------------------------------------------------------------------------

    def _make_target(self, name: str, world: VaultWorld) -> object:
        automatic = name == "automatic"
        body: dict[str, Any] = {
            "name": name,
            "backend": world.kind,
            "destination": world.destination,
            "scope": _SCOPES[name],
        }
        body |= {"credentials": world.credentials, "automatic": automatic}
        body |= {"interval_seconds": INTERVAL_SECONDS} if automatic else {}
        return self._made("manager", f"{ENVIRONMENT}/targets", body)

    def _make_policy(self, name: str, world: MariaDbWorld) -> None:
        secret = {"environment_id": 1, "name": name, "secret_type": "JSON", "value": world.current}
        self._made("editor", "/api/secrets", secret)
        body: dict[str, Any] = {"secret": name, "rotator": "mysql", "settings": world.settings()}
        body |= {"credentials": world.admin(), "interval_seconds": INTERVAL_SECONDS}
        self._made("manager", f"{ENVIRONMENT}/rotation-policies", body | {"grace_seconds": GRACE_SECONDS})

    def _made(self, role: str, path: str, body: object) -> object:
        for _ in range(ATTEMPTS):
            # A change that met another node's is answered 503, and nothing of it is stored.
            with suppress(NotAnswered):
                status, document = self.keepers[0].ask(role, "POST", path, body)
                assert status == 201, document
                return document["id"]
        raise AssertionError(f"{path} had no answer")

    # --- What a program does by plans -------------------------------------------------------------

    def _plan_and_apply(self) -> None:
        draw = random.Random(1)
        while not self._over.wait(BETWEEN_PASSES_SECONDS):
            self._pass(draw.choice(self.keepers))

    def _pass(self, keeper: GaleraKeeper) -> None:
        """Write some secrets, ask for a plan and then for its apply, and wait for both; count how far that came."""
        try:
            for number in random.sample(range(WARM), 3):
                keeper.ask("editor", "PUT", f"{ENVIRONMENT}/secrets/warm/{number}", _secret(uuid4().hex))
            planned = self._run_to_end(keeper, "plan", f"targets/{self._ids['by-hand']}/plan")
            if planned:
                self._run_to_end(keeper, "apply", f"plans/{planned['plan']}/apply")
        except NotAnswered:
            self.passes["unanswered"] += 1

    def _run_to_end(self, keeper: GaleraKeeper, kind: str, path: str) -> dict[str, Any] | None:
        status, run = keeper.ask("manager", "POST", f"{ENVIRONMENT}/{path}")
        if status != 202:
            # One whose answer was lost is at work.
            self.passes[f"{kind} {status}"] += 1
            return None
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            if found := self._run(run["id"]):
                self.passes[f"{kind} {found['state']}"] += 1
                return found if found["state"] == "done" else None
        raise AssertionError(f"{kind} {run['id']} came to no end")

    def _run(self, id: object) -> dict[str, Any] | None:
        """Return a run that has ended, by the first Keeper that answers."""
        path = f"{ENVIRONMENT}/targets/{self._ids['by-hand']}/runs?limit=10"
        for keeper in self.keepers:
            try:
                _, found = keeper.ask("manager", "GET", path)
            except NotAnswered:
                continue
            runs: Any = found["results"]
            return next((run for run in runs if run["id"] == id and run["state"] in _ENDED), None)
        return None

    # --- What is judged ---------------------------------------------------------------------------

    def _undelivered(self) -> Iterator[str]:
        """Yield what a target does not hold as Keeper does, and rotations that are not at their end."""
        for target, world in self.targets.items():
            for name in _names(target):
                if _held(world, name) != self._value(name):
                    yield f"{name} at {target}"
        working = "SELECT id, step, problem FROM sync_app_rotation WHERE slot = 'working' AND step <> 'grace'"
        yield from (" ".join(row) for row in self._rows(working))

    def _rows_of_twice(self) -> Iterator[str]:
        """Yield what Keeper's tables and its audit log hold twice."""
        for what, statement in _TWICE.items():
            yield from (f"{what}: {' '.join(row)}" for row in self._rows(statement))

    def _delivered_twice(self) -> Iterator[str]:
        """Yield each value that two versions of a delivered secret hold: no value is written twice to Keeper."""
        for target, world in self.targets.items():
            number = Counter(_versions(target, world))
            yield from (f"{target}: {path} twice" for (path, _), count in number.items() if count > 1)

    def _rotated_twice(self) -> Iterator[str]:
        """Yield policies whose server was given other passwords than one a rotation, or whose value is dead.

        The same password again, of a step that a worker began again, is one rotation.
        """
        for name, world in self.worlds.items():
            passwords, rotations = [*self._passwords(world)], self._rotations(name)
            if len(set(passwords)) != len(passwords):
                yield f"{name}: a password was set, and again after another one"
            if not rotations - 1 <= len(passwords) <= rotations:
                yield f"{name}: {len(passwords)} passwords were set by {rotations} rotations"
            if not world.works(self._value(name)):
                yield f"{name}: the served value does not log in"

    def _rotations(self, name: str) -> int:
        return len(
            self._rows(
                "SELECT r.id FROM sync_app_rotation r JOIN sync_app_rotationpolicy p ON p.id = r.policy_id"
                f" JOIN secrets_app_secret s ON s.uuid = p.secret_id WHERE s.name = '{name}'"
                " AND r.step NOT IN ('waiting', 'prepare')"
            )
        )

    def _passwords(self, world: MariaDbWorld) -> Iterator[str]:
        """Yield the hash of each password that a login of a world got, once where it was set again at once."""
        last = ""
        for line in world.logged().splitlines():
            found = _SET.search(line) if world.mark in line else None
            if found and found[1] != last:
                last = found[1]
                yield last

    def _value(self, name: str) -> str:
        _, found = self.keepers[0].ask("reader", "GET", f"{ENVIRONMENT}/secrets/{name}")
        return str(found["value"])

    def _rows(self, statement: str) -> list[list[str]]:
        node = next(node for node in self.cluster.nodes if node.ready())
        return [line.split("\t") for line in node.ask(f"USE keeper; {statement}").splitlines()[1:]]


def _secret(value: str) -> dict[str, str]:
    return {"value": value, "secret_type": "TEXT"}


def _held(world: VaultWorld, name: str) -> str | None:
    try:
        return world.value(f"{world.prefix}/{name}")
    except world.absent:
        return None


def _names(target: str) -> list[str]:
    """Return the names of the secrets that a target is for."""
    return [f"{_SCOPES[target]}/{number}" for number in range(WARM if target == "by-hand" else HOT)]


def _versions(target: str, world: VaultWorld) -> Iterator[tuple[str, str]]:
    """Yield path and value of each version that Keeper wrote."""
    for path in (f"{world.prefix}/{name}" for name in _names(target)):
        found = world.kv.read_secret_metadata(path, mount_point="secret")["data"]["versions"]
        for number in found:
            version = world.kv.read_secret_version(
                path, version=int(number), mount_point="secret", raise_on_deleted_version=True
            )
            yield path, version["data"]["data"]["value"]


_SCOPES: Final = {"automatic": "hot", "by-hand": "warm"}
# Of a plan: that it was carried out. Of a rotation: that a step was done; its version; its time.
_TWICE: Final = {
    "a plan was carried out twice": (
        "SELECT JSON_VALUE(details, '$.plan') AS plan, COUNT(*) AS number FROM audit_app_auditevent"
        " WHERE action = 'target.apply' AND JSON_VALUE(details, '$.step') = 'carried out'"
        " GROUP BY plan HAVING number > 1"
    ),
    "two runs applied a plan": (
        "SELECT plan_id, COUNT(*) AS number FROM sync_app_run WHERE kind IN ('apply', 'sync') AND state = 'done'"
        " AND plan_id IS NOT NULL GROUP BY plan_id HAVING number > 1"
    ),
    "a step of a rotation was done twice": (
        "SELECT JSON_VALUE(details, '$.rotation') AS rotation, JSON_VALUE(details, '$.step') AS step,"
        " COUNT(*) AS number FROM audit_app_auditevent WHERE action = 'rotation.step'"
        " GROUP BY rotation, step HAVING number > 1"
    ),
    "two rotations made one version": (
        "SELECT policy_id, to_number, COUNT(*) AS number FROM sync_app_rotation WHERE to_number IS NOT NULL"
        " GROUP BY policy_id, to_number HAVING number > 1"
    ),
    "two rotations were due at once": (
        "SELECT policy_id, id, queued_at FROM (SELECT policy_id, id, queued_at, LAG(queued_at)"
        " OVER (PARTITION BY policy_id ORDER BY id) AS earlier FROM sync_app_rotation WHERE `trigger` = 'schedule')"
        f" AS each_one WHERE TIMESTAMPDIFF(SECOND, earlier, queued_at) < {INTERVAL_SECONDS // 2}"
    ),
    "a rotation stopped": (
        "SELECT id, step, problem FROM sync_app_rotation WHERE stopped_at IS NOT NULL"
        " OR step IN ('rolled_back', 'abandoned')"
    ),
}
