"""A person who knows many values leaves: none is lost or marked twice, however often the worker is killed."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Process, database

__all__ = ["database"]
# Without a database asked for by name, a run of this file alone makes none to copy.
pytestmark = pytest.mark.django_db(transaction=True)
SEED = 20_261


@pytest.fixture
def process(tmp_path: Path, database: str) -> Iterator[Process]:
    running = Process(
        "tests.people.leaver",
        {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "DATABASE_URL": database,
            "KEEPER_DATA_DIR": str(tmp_path),
            "KEEPER_TLS": "false",
            "KEY_MANAGEMENT_BACKEND": "local",
        },
    )
    yield running
    running.end()


def all_of(values: int) -> dict[str, Any]:
    """What is there when nothing is lost and nothing twice."""
    rotated = owned = values // 4
    return {
        "values": values, "due": values, "due_at_most": 1, "marked": values, "by_policy": rotated,
        "brought_forward": rotated, "assigned": owned, "told_at_most": 1, "counted": True,
    }  # fmt: skip


def survive(process: Process, *, values: int, kills: int, last_point: int) -> None:
    """Let the person leave until the worker was killed so often, and judge each departure."""
    draw, killed = random.Random(SEED), 0
    while killed < kills:
        newest = process.ask("leave")["newest"]
        while killed < kills and process.ask("work", dies_at=draw.randint(1, last_point))["killed"]:
            killed += 1
        process.ask("work", dies_at=0)
        assert process.ask("found", newest=newest) == all_of(values)


@pytest.mark.every_database
def test_a_worker_that_is_killed_loses_nothing_and_does_nothing_twice(process: Process) -> None:
    process.ask("prepare", values=8, events=0)
    survive(process, values=8, kills=3, last_point=90)


@pytest.mark.torture
def test_two_thousand_values_of_a_million_events_and_twenty_kills(process: Process) -> None:
    there = process.ask("prepare", values=2_000, events=1_000_000)["events"]
    assert there > 1_000_000
    left = process.ask("leave")
    worked = process.ask("work", dies_at=0)
    assert process.ask("found", newest=left["newest"]) == all_of(2_000)
    print(  # noqa: T201 - the figures of the long form
        f"{there:,} events: ended in {left['seconds']:.2f} s, 2,000 values in {worked['seconds']:.1f} s"
    )
    assert left["seconds"] + worked["seconds"] < 60
    survive(process, values=2_000, kills=20, last_point=15_000)
