"""A Keeper on each node of a Galera cluster, while nodes are killed and cut off: nothing acknowledged is lost.

The long form goes on for GALERA_SECONDS, with workers, and a fault every half minute.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.operation.galera_load import GaleraKeeper, Load, start
from tests.servers.galera import Cluster, Node

pytestmark = pytest.mark.every_database
# Of the writes, while most of the nodes stand.
MOST_REFUSED = 0.01
REST_SECONDS = 4
FAULT_SECONDS = 5


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster | None]:
    """Start a cluster: for the short form once, where the suite runs on MariaDB."""
    if connection.vendor != "mysql" and not request.node.get_closest_marker("torture"):
        yield None
        return
    made = Cluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def keepers(
    request: pytest.FixtureRequest,
    cluster: Cluster | None,
    tmp_path: Path,
    schema: Path | None,
) -> Iterator[list[GaleraKeeper]]:
    if cluster is None:
        yield []
        return
    worker = request.node.get_closest_marker("torture") is not None
    made: list[GaleraKeeper] = []
    try:
        start(tmp_path, cluster, made, worker=worker)
        yield made
    finally:
        for each in made:
            each.stop()


def kill(node: Node, seconds: float) -> None:
    node.kill()
    time.sleep(seconds)
    node.join_again()


def cut_off(node: Node, seconds: float) -> None:
    node.isolate(apart=True)
    time.sleep(seconds)
    node.isolate(apart=False)
    node.until(node.ready)


def restart(node: Node, seconds: float) -> None:
    """As an update of the server does."""
    node.stop()
    time.sleep(seconds)
    node.join_again()


FAULTS: list[Callable[[Node, float], None]] = [kill, cut_off, restart]


def judge(load: Load, keepers: list[GaleraKeeper]) -> None:
    """Demand that nothing is lost, twice or stale, and that the audit log is whole."""
    acknowledged = sum(len(each.acknowledged) for each in load.secrets.values())
    told = f"{acknowledged} acknowledged, {load.refused():.3%} refused, {dict(load.answers)}"
    sys.stdout.write(f"{told}\n")
    assert load.missing() == []
    assert load.stale == 0, told
    assert acknowledged > 100, told
    assert load.refused() < MOST_REFUSED, told
    assert keepers[0].run("verify-audit").strip().endswith("0 problems")


def test_nothing_is_lost_while_a_node_dies_and_another_is_cut_off(
    cluster: Cluster | None, keepers: list[GaleraKeeper]
) -> None:
    if cluster is None:
        return
    load = Load(keepers, threads=6, seed=1)
    load.begin()
    try:
        time.sleep(REST_SECONDS)
        kill(cluster.nodes[1], 2)
        time.sleep(REST_SECONDS)
        cut_off(cluster.nodes[2], FAULT_SECONDS)
        time.sleep(REST_SECONDS)
    finally:
        load.end()
    judge(load, keepers)
    # Each node's own Keeper is the installation that the first one activated.
    for each in keepers:
        assert "active installation since" in each.run("activate", "--yes")


@pytest.mark.torture
def test_nothing_is_lost_for_long(cluster: Cluster | None, keepers: list[GaleraKeeper]) -> None:
    if cluster is None:
        return
    ends = time.monotonic() + float(os.environ.get("GALERA_SECONDS") or 600)
    seed = int(os.environ.get("GALERA_SEED") or random.randrange(10**6))
    draw = random.Random(seed)
    sys.stdout.write(f"GALERA_SEED={seed}\n")
    load = Load(keepers, threads=6, seed=seed)
    load.begin()
    try:
        while time.monotonic() < ends:
            time.sleep(draw.uniform(5, 20))
            fault, node = draw.choice(FAULTS), draw.choice(cluster.nodes)
            sys.stdout.write(f"{fault.__name__} node {node.number}: {dict(load.answers)}\n")
            fault(node, draw.uniform(1, 10))
    finally:
        load.end()
    judge(load, keepers)
