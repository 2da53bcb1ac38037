"""A Keeper on each node of a Galera cluster, while nodes are killed and cut off: nothing acknowledged is lost.

The long forms, with a writer on each node and with one behind a proxy, go on for GALERA_SECONDS, with
workers, syncs, rotations, and a fault every half minute. A program rests GALERA_PAUSE seconds between two requests.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connection

from tests.operation.galera_faults import Faults, Watch, cut_off, kill, say
from tests.operation.galera_load import GaleraKeeper, Load, start
from tests.operation.galera_systems import Systems
from tests.servers.fixtures import openbao, rotated_mariadb
from tests.servers.galera import Cluster, one_writer
from tests.servers.mariadb import RotatedMariaDb

__all__ = ["openbao", "rotated_mariadb"]

pytestmark = pytest.mark.every_database
# Of the writes, while most of the nodes stand.
MOST_REFUSED = 0.01
PROXIED = "one-writer-behind-a-proxy"
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
    with ExitStack() as stack:
        proxy = stack.enter_context(one_writer(cluster)) if getattr(request, "param", "") == PROXIED else 0
        try:
            start(tmp_path, cluster, made, worker=worker, proxy=proxy)
            yield made
        finally:
            for each in made:
                each.stop()


def judge(load: Load, keepers: list[GaleraKeeper], cluster: Cluster) -> None:
    """Demand that nothing is lost, twice or stale, that each read is recorded, and the audit log whole."""
    acknowledged = sum(len(each.acknowledged) for each in load.secrets.values())
    told = f"{acknowledged} acknowledged, {load.refused():.3%} refused, {dict(load.answers)}"
    say(told)
    assert load.missing() == []
    assert load.stale == 0, told
    assert acknowledged > 100, told
    assert load.refused() < MOST_REFUSED, told
    # A value that was given is recorded: a node must not answer a COMMIT that it did not carry out.
    # The node waits first until it has what the others have committed.
    recorded = cluster.nodes[0].ask(
        "SET wsrep_sync_wait = 1; SELECT COUNT(*) FROM keeper.audit_app_auditevent WHERE action = 'secret.reveal' AND outcome = 'allowed'"
    )
    # `missing` has read each secret once more.
    given = load.answers["read 200"] + len(load.secrets)
    assert int(recorded.split()[-1]) >= given, f"{recorded} of {given}; {told}"
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
    judge(load, keepers, cluster)
    # Each node's own Keeper is the installation that the first one activated.
    for each in keepers:
        assert "active installation since" in each.run("activate", "--yes")


@pytest.mark.torture
@pytest.mark.parametrize("keepers", ["a-writer-on-each-node", PROXIED], indirect=True)
def test_nothing_is_lost_for_long(
    cluster: Cluster | None,
    keepers: list[GaleraKeeper],
    openbao: tuple[str, str],
    rotated_mariadb: RotatedMariaDb,
) -> None:
    assert cluster is not None
    ends = time.monotonic() + float(os.environ.get("GALERA_SECONDS") or 600)
    seed = int(os.environ.get("GALERA_SEED") or random.randrange(10**6))
    say(f"GALERA_SEED={seed}")
    load = Load(keepers, threads=6, seed=seed)
    systems = Systems(keepers, cluster, openbao, rotated_mariadb)
    faults = Faults(cluster, keepers, seed)
    watch = Watch(cluster, keepers, load, systems, faults)
    with ExitStack() as stack:
        for each in (watch, systems, load):
            each.begin()
            stack.callback(each.end)
        faults.play(ends)
    say(f"faults: {dict(faults.done)}, {cluster.transfers()} whole transfers; {systems.done()}")
    problems = systems.problems()
    say(f"{len(problems)} problems: {problems[:20]}")
    judge(load, keepers, cluster)
    assert problems == []
