"""The first and the last page of a long list of secrets, against the bare framework's."""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measuring.client import Endpoint, all_of, for_seconds
from benchmarks.measuring.scale import FLOOR, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.measuring.turns import Competitor, compared, in_turns

TARGET = Target(1.2, 1.0, at_most=True)
FLOOR_TARGET = Target(0.9, 1.2)
ENVIRONMENT = "development"
PAGE = "/api/secrets?limit=50"
REPEATS = 20
KEEPER = "keeper"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Compare the pages on each database, over the most secrets that single values are read of."""
    size = max(scale.sizes)
    rows = _against_the_floor(stage, scale, size) if FLOOR in scale.peers else []
    for database in stage.databases:
        keeper = stage.keeper(database, size)
        client = keeper.client(ENVIRONMENT)
        deep = _last_page(client)
        rows.append(_comparison(client, database, deep, scale, size))
    return rows


def _against_the_floor(stage: Stage, scale: Scale, size: int) -> list[Row]:
    competitors: dict[tuple[str, str], Competitor] = {}
    for database in stage.databases:
        keeper, floor = stage.keeper(database, size), stage.floor(database, size)
        pages = (
            (KEEPER, keeper, keeper.client(ENVIRONMENT).request("GET", PAGE)),
            (FLOOR, floor, floor.client().request("GET", "/secrets")),
        )
        for name, server, page in pages:
            send = partial(for_seconds, server.port, [page])
            competitors[name, database] = Competitor(send, partial(stage.processes_of, server, database))
    rows: list[Row] = []
    for clients in scale.clients:
        turns = in_turns(competitors, scale, clients=clients)
        work = f"a list page of 50 of {size:,} secrets, {clients} client{'s' if clients > 1 else ''}"
        for database in stage.databases:
            ours, theirs = turns[KEEPER, database], turns[FLOOR, database]
            alone = clients == 1
            rows.append(compared(work, database, ours, "bare DRF", theirs, alone=alone, target=FLOOR_TARGET))
    return rows


def _last_page(client: Endpoint) -> str:
    """Walk to the last full page, 200 rows at a time, and return its address with 50 rows."""
    address, following = PAGE, f"{PAGE.replace('50', '200')}"
    while True:
        page: Any = client.call("GET", following)
        if page["next"] is None:
            return address
        parts = urlsplit(page["next"])
        following = f"{parts.path}?{parts.query}"
        address = following.replace("limit=200", "limit=50")


def _comparison(client: Endpoint, database: str, deep: str, scale: Scale, size: int) -> Comparison:
    times: dict[str, list[float]] = {PAGE: [], deep: []}
    for _ in range(scale.rounds):
        for path, found in times.items():
            requests = [client.request("GET", path)] * REPEATS
            found.append(all_of(client.port, requests, clients=1).median_ms)
    return Comparison(
        work=f"last page of {size:,} secrets",
        database=database,
        unit="ms",
        keeper=times[deep],
        other="Keeper, first page",
        other_figures=times[PAGE],
        target=TARGET,
    )
