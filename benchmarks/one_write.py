"""One value written by the API, as a new version of a secret, against OpenBao's write of one."""

from benchmarks.client import Endpoint, Load, for_seconds
from benchmarks.scale import Scale
from benchmarks.stage import CLIENTS, SECRETS, Keeper, Stage
from benchmarks.table import Comparison, Row
from benchmarks.values import secret_name, secret_value

OPENBAO = "OpenBao"
_ENVIRONMENT = "staging"
_PREFIX = "written"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure with one client and with eight."""
    keepers = {database: stage.keeper(database) for database in stage.databases}
    contestants = {database: (keeper.port, writes_to(keeper)) for database, keeper in keepers.items()}
    contestants[OPENBAO] = (stage.openbao.port, _openbao_writes(stage.openbao))
    rows: list[Row] = []
    for clients in (1, CLIENTS):
        loads: dict[str, list[Load]] = {name: [] for name in contestants}
        for _ in range(scale.rounds):
            for name, (port, requests) in contestants.items():
                loads[name].append(for_seconds(port, requests, clients=clients, seconds=scale.seconds))
        rows += [_row(loads, database, clients) for database in stage.databases]
    return rows


def _values() -> list[tuple[str, str]]:
    """Return names and values such that no name is given the value that it has: that would be no write."""
    return [
        (secret_name(n, _PREFIX), f"{secret_value(n)}-{turn}") for turn in ("a", "b") for n in range(SECRETS)
    ]


def writes_to(keeper: Keeper) -> list[bytes]:
    """Store secrets, and return the requests that write new versions of them, one by one."""
    ids = keeper.create(_ENVIRONMENT, SECRETS, _PREFIX)
    way_in = keeper.client(_ENVIRONMENT)
    return [
        way_in.request("PUT", f"/api/secrets/{secret_id}", {"value": value})
        for secret_id, (_, value) in zip(ids * 2, _values(), strict=True)
    ]


def _openbao_writes(openbao: Endpoint) -> list[bytes]:
    return [
        openbao.request("POST", f"/v1/secret/data/{name}", {"data": {"value": value}})
        for name, value in _values()
    ]


def _row(loads: dict[str, list[Load]], database: str, clients: int) -> Row:
    ours, theirs = loads[database], loads[OPENBAO]
    alone = clients == 1
    return Comparison(
        work="one write, 1 client" if alone else f"one write, {clients} clients",
        database=database,
        unit="median ms" if alone else "requests/s",
        keeper=[load.median_ms if alone else load.per_second for load in ours],
        other=OPENBAO,
        other_figures=[load.median_ms if alone else load.per_second for load in theirs],
        less_is_better=alone,
    )
