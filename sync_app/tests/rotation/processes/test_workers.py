"""Real processes: killed at any point, stopped before their statement, several at once, and messages twice."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_app.tests.rotation.making import NAMES
from sync_app.tests.rotators.worlds import DatabaseWorld
from tests.processes import Process
from tests.processes import database as keeper_url

__all__ = ["keeper_url"]

pytestmark = [
    # On MariaDB the other kind of login goes the same way through Keeper's statements.
    pytest.mark.parametrize(
        "database",
        [
            pytest.param("mariadb", marks=pytest.mark.every_database),
            pytest.param("postgres", marks=pytest.mark.every_database_weekly),
        ],
        indirect=True,
    ),
]
# About as many statements, logins and changes as a worker passes on its way through a rotation.
POINTS = 130
SEED = 5


class Fleet:
    """A process that starts workers, and one secret under a policy."""

    def __init__(self, environment: dict[str, str], world: DatabaseWorld) -> None:
        self._process = Process("sync_app.tests.rotation.processes.fleet", environment)
        self.world = world
        self.ask(
            "prepare",
            rotator=NAMES[world.kind],
            value=world.current,
            settings=world.settings(),
            credentials=world.admin(),
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        return self._process.ask(do, **request)

    def end(self) -> None:
        self._process.end()


@pytest.fixture
def fleet(database: DatabaseWorld, keeper_url: str, tmp_path: Path) -> Iterator[Fleet]:
    variables = {
        "DATABASE_URL": keeper_url,
        "KEEPER_DATA_DIR": str(tmp_path),
        "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
        "REDIS_URL": "",
        "CELERY_BROKER_URL": "",
        "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
        "KEEPER_TLS": "false",
    }
    made = Fleet({**os.environ, **variables}, database)
    yield made
    made.end()


def rotate_under_fire(fleet: Fleet, *, rotations: int, kills: int, seed: int) -> int:
    """Rotate with two workers at a time, the first of each pair killed; return how many died."""
    chosen, died, old = random.Random(seed), 0, fleet.world.current
    for number in range(rotations):
        rotation = fleet.ask("ask")["rotation"]
        done: dict[str, Any] = {}
        for attempt in range(kills + 3):
            death = chosen.randint(1, POINTS) if attempt < kills else 0
            done = fleet.ask("work", rotation=rotation, deaths=[death, death])
            died += done["killed"]
            assert not done["failed"]
            # Whoever reads now gets a value that logs in.
            assert fleet.world.works(done["current"])
            if done["step"] == "done":
                break
        assert (done["step"], done["versions"], done["trail"]) == ("done", number + 2, [])
        assert not fleet.world.works(old)
        old = done["current"]
        # The same message once more does nothing.
        again = fleet.ask("work", rotation=rotation, deaths=[0])
        assert (again["current"], again["versions"]) == (old, number + 2)
    return died


def test_workers_that_are_killed_are_followed_by_others(fleet: Fleet) -> None:
    assert rotate_under_fire(fleet, rotations=1, kills=3, seed=SEED)


@pytest.mark.torture
def test_many_workers_are_killed(fleet: Fleet) -> None:
    assert rotate_under_fire(fleet, rotations=25, kills=6, seed=SEED + 1) > 40


def test_a_worker_that_slept_through_two_rotations_changes_nothing(fleet: Fleet) -> None:
    first = fleet.ask("ask")["rotation"]
    # It sleeps under the server's lock, just before it gives B the first new password.
    asleep = fleet.ask("stall", rotation=first, fence_seconds=8)
    assert asleep["stopped"]
    for rotation in (first, fleet.ask("ask")["rotation"]):
        for _ in range(10):
            done = fleet.ask("work", rotation=rotation, deaths=[0])
            if done["step"] == "done":
                break
        assert (done["step"], done["problem"]) == ("done", "")
    second = fleet.ask("ask")["rotation"]
    done = fleet.ask("work", rotation=second, deaths=[0])
    assert fleet.world.works(done["current"])
    # B is current once more: the sleeper would change its password.
    assert fleet.ask("wake", child=asleep["child"])["exit"] == 0
    assert fleet.world.works(done["current"])
    assert fleet.ask("look", rotation=second) == {
        key: done[key] for key in fleet.ask("look", rotation=second)
    }
