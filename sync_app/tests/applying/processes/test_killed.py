"""Workers killed at random points of a push, and messages that come twice: all is written, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_app.tests.applying.processes.pushes import FOREIGN, LEASE_SECONDS, Fleet, installation
from sync_app.tests.worlds import World

SEED = 20_261


@pytest.fixture
def environment(tmp_path: Path, database: str) -> dict[str, str]:
    return installation(tmp_path, database)


@pytest.fixture
def fleet(request: pytest.FixtureRequest, environment: dict[str, str], world: World) -> Iterator[Fleet]:
    secrets, seed = getattr(request, "param", (60, SEED))
    made = Fleet(environment, world, secrets=secrets, seed=seed)
    try:
        made.start()
        yield made
    finally:
        made.end()


def survive(fleet: Fleet, *, kills: int, lease_seconds: float = LEASE_SECONDS) -> None:
    """Push a change while workers are killed, and look at everything afterwards."""
    theirs = fleet.theirs()
    values = fleet.change()
    done = fleet.push(kills=kills, lease_seconds=lease_seconds)
    fleet.account_for(done, values, theirs)
    assert fleet.push()["plan"] == {"unchanged": len(values), "unmanaged": len(FOREIGN)}


@pytest.mark.parametrize(
    "world",
    [
        pytest.param("aws", marks=pytest.mark.every_database),
        pytest.param("vault", marks=pytest.mark.every_database_weekly),
    ],
    indirect=True,
)
@pytest.mark.parametrize("fleet", [(30, SEED)], indirect=True)
def test_a_push_ends_in_sync_whoever_is_killed(fleet: Fleet) -> None:
    survive(fleet, kills=3)
    assert fleet.kills >= 3


@pytest.mark.torture
@pytest.mark.every_database
@pytest.mark.parametrize("fleet", [(200, 1), (200, 2)], indirect=True)
def test_a_long_push_ends_in_sync_whoever_is_killed(fleet: Fleet) -> None:
    survive(fleet, kills=10)
    assert fleet.kills >= 8


@pytest.mark.parametrize("world", ["aws"], indirect=True)
@pytest.mark.torture
@pytest.mark.every_database
def test_workers_that_overtake_each_other_write_nothing_twice(fleet: Fleet) -> None:
    # A lease that runs out at once: each takes the others for dead, who go on all the same.
    survive(fleet, kills=0, lease_seconds=0)
