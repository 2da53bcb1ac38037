"""CPU of one act in web process and MariaDB, and reads in one commit: `python -m benchmarks.service_times`.

The figures that benchmarks.sizing simulates with. An act is asked for by one client, and by eight at once.
"""

import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path

from benchmarks.measuring.client import Load, random_for_seconds
from benchmarks.measuring.processes import cpu_seconds, descendants
from benchmarks.measuring.stage import MARIADB, Stage
from benchmarks.servers import Keeper
from benchmarks.writes.one_write import writes_to
from tests.servers.__main__ import stops

SECRETS = 10_000
SECONDS = 6.0
_CLIENTS = (1, 8)
_MICRO = 1_000_000
_HEADING = """\
| act | clients | a second | web, µs | MariaDB, µs | p50, ms | reads in a commit | commit, ms |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Measure and print a table."""
    stops.heed()
    with (
        tempfile.TemporaryDirectory(prefix="keeper-times-", ignore_cleanup_errors=True) as directory,
        Stage(Path(directory), [MARIADB]) as stage,
    ):
        keeper = stage.keeper(MARIADB, SECRETS)
        sys.stdout.write(_HEADING)
        for name, requests in _acts(keeper).items():
            for clients in _CLIENTS:
                _measure(stage, keeper, name, requests, clients)


def _acts(keeper: Keeper) -> dict[str, Callable[[], Iterator[bytes]]]:
    client = keeper.client("development")
    paths = keeper.read_paths("name")
    lists = client.request("GET", "/api/secrets?environment=development&limit=50")
    return {
        "read of a value": partial(client.random_reads, paths, seed=1),
        "write of a value": partial(writes_to, keeper),
        "list page of 50": partial(repeat, lists),
        "export of 1,000": partial(repeat, keeper.export_request),
    }


def _measure(
    stage: Stage, keeper: Keeper, name: str, requests: Callable[[], Iterator[bytes]], clients: int
) -> None:
    send: Callable[..., Load] = partial(random_for_seconds, keeper.port, requests())
    send(clients=clients, seconds=1.0)
    every = stage.processes_of(keeper, MARIADB)
    web = descendants([keeper.pid or 0])
    reads, commits, before, before_web = *_batches(keeper), cpu_seconds(every), cpu_seconds(web)
    load = send(clients=clients, seconds=SECONDS)
    all_of_it, of_web = cpu_seconds(every) - before, cpu_seconds(web) - before_web
    more_reads, more_commits = _batches(keeper)
    batches = more_commits[0] - commits[0]
    together = (more_reads - reads) / batches if batches else 0
    waited = (more_commits[1] - commits[1]) / batches * 1000 if batches else 0
    figures = (
        f"{load.per_second:,.0f}", f"{of_web / load.count * _MICRO:,.0f}",
        f"{(all_of_it - of_web) / load.count * _MICRO:,.0f}", f"{load.median_ms:.2f}",
        f"{together:.1f}", f"{waited:.2f}",
    )  # fmt: skip
    sys.stdout.write(f"| {name} | {clients} | {' | '.join(figures)} |\n")
    sys.stdout.flush()


def _batches(keeper: Keeper) -> tuple[float, tuple[float, float]]:
    """Return the reads that were recorded, and in how many commits that took how many seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{keeper.port}/metrics", timeout=60) as reply:
        text = reply.read().decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    return float(lines["keeper_read_batch_sum"]), (
        float(lines["keeper_read_batch_count"]),
        float(lines["keeper_audit_append_seconds_sum"]),
    )


if __name__ == "__main__":
    main()
