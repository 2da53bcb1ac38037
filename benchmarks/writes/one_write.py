"""One value written by the API, as a new version of one of many secrets, against OpenBao's write of one."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from random import Random

from benchmarks.measuring.client import random_for_seconds
from benchmarks.measuring.scale import OPENBAO, Scale
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from benchmarks.measuring.table import Row, Target
from benchmarks.measuring.turns import Competitor, compared, in_turns
from benchmarks.measuring.values import secret_value
from benchmarks.servers import SECRETS, FilledOpenBao, Keeper, openbao_path

OPENBAO_TARGETS = {SQLITE: Target(0.5, 1.0), MARIADB: Target(0.4, 1.0)}
GROWTH_TARGET = Target(0.9, 1.0)
_SEED = 20_261_127


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure with each number of clients, beside the most secrets and beside a thousand."""
    size = max(scale.sizes)
    competitors: dict[tuple[str, int], Competitor] = {}
    for database in stage.databases:
        for beside in (size, SECRETS):
            keeper = stage.keeper(database, beside)
            processes = partial(stage.processes_of, keeper, database)
            send = partial(random_for_seconds, keeper.port, writes_to(keeper))
            competitors[database, beside] = Competitor(send, processes)
    if OPENBAO in scale.peers:
        openbao = stage.openbao(size)
        send = partial(random_for_seconds, openbao.port, _openbao_writes(openbao))
        competitors[OPENBAO, size] = Competitor(send, partial(stage.processes_of, openbao))
    rows: list[Row] = []
    for clients in scale.clients:
        turns = in_turns(competitors, scale, clients=clients)
        work = f"one write beside {size:,} secrets, {clients} client{'s' if clients > 1 else ''}"
        for database in stage.databases:
            ours, alone = turns[database, size], clients == 1
            if OPENBAO in scale.peers:
                target = OPENBAO_TARGETS[database] if alone else None
                theirs = turns[OPENBAO, size]
                rows.append(compared(work, database, ours, "OpenBao", theirs, alone=alone, target=target))
            few = turns[database, SECRETS]
            name = f"Keeper, beside {SECRETS:,}"
            rows.append(compared(work, database, ours, name, few, alone=alone, target=GROWTH_TARGET))
    return rows


def writes_to(keeper: Keeper) -> Iterator[bytes]:
    """Yield requests for ever that write a new value of a random secret each."""
    client, draw = keeper.client("development"), Random(_SEED)
    for number in count():
        path = f"/api/secrets/{draw.choice(keeper.secret_ids)}"
        yield client.request("PUT", path, {"value": f"{secret_value(number)}-new"})


def _openbao_writes(openbao: FilledOpenBao) -> Iterator[bytes]:
    client, draw = openbao.client(), Random(_SEED)
    for number in count():
        path = openbao_path(draw.randrange(openbao.secrets))
        yield client.request("POST", path, {"data": {"value": f"{secret_value(number)}-new"}})
