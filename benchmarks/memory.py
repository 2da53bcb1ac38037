"""Memory of web server and worker after a load over many secrets, against OpenBao's after the same."""

from collections.abc import Callable, Iterator
from random import Random

from benchmarks.idle import WholeKeeper
from benchmarks.measuring.client import mixed
from benchmarks.measuring.processes import memory_alone_mb, memory_mb, resident_mb
from benchmarks.measuring.scale import CLIENTS, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.measuring.values import secret_value
from benchmarks.servers import FilledOpenBao, Keeper, openbao_path
from tests.servers.server import Server

TARGET = Target(1.3, 1.0, at_most=True)
# OpenBao maps its database, whose pages the kernel may take back; Keeper reads its own by system calls.
ALONE, PROPORTIONAL, RESIDENT = "alone, without a mapped database", "PSS", "sum of RSS"
# So many times what a round takes: caches and connections fill.
_ROUNDS_LONG = 2
_SEED = 20_261_127
# Of so many requests, how many are of a kind.
_MIX = {"hot read": 120, "write": 20, "list": 14, "whole environment": 2}

Kinds = dict[str, Callable[[Random], bytes]]


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Load each with reads, writes, lists and whole environments, and look at its memory right afterwards."""
    size = max(scale.sizes)
    openbao = stage.openbao(size)
    _ = openbao.object_request
    # Keeper starts again as well: what filling left behind is no part of the comparison.
    openbao.stop()
    openbao.start_again()
    theirs = _memory_after_load(openbao, _of_openbao(openbao), stage, scale)
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.whole_keeper(WholeKeeper, database, size)
        ours = _memory_after_load(keeper, _of_keeper(keeper), stage, scale)
        rows += [
            Comparison(
                work=f"memory of web and worker after load over {size:,} secrets",
                database=database,
                unit=f"MB ({kind})",
                keeper=[megabytes],
                other="OpenBao with the same secrets",
                other_figures=[theirs[kind]],
                target=TARGET if kind == ALONE else None,
            )
            for kind, megabytes in ours.items()
        ]
    return rows


def _memory_after_load(server: Server, kinds: Kinds, stage: Stage, scale: Scale) -> dict[str, float]:
    seconds = scale.seconds * scale.rounds * _ROUNDS_LONG
    found = mixed(server.port, _mix(kinds), clients=CLIENTS, seconds=seconds)
    if found.errors:
        raise RuntimeError(f"requests failed: {found.errors}")
    pid = server.pid or 0
    return {
        ALONE: memory_alone_mb(pid, stage.directory),
        PROPORTIONAL: memory_mb(pid),
        RESIDENT: resident_mb(pid),
    }


def _mix(kinds: Kinds) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, request) for ever, in the proportions of the mixed load."""
    draw, weights = Random(_SEED), [_MIX[name] for name in kinds]
    while True:
        (kind,) = draw.choices(list(kinds), weights)
        yield kind, kinds[kind](draw)


def _of_keeper(keeper: Keeper) -> Kinds:
    client, ids = keeper.client("development"), keeper.secret_ids

    def write(draw: Random) -> bytes:
        value = {"value": secret_value(draw.randrange(keeper.secrets))}
        return client.request("PUT", f"/api/secrets/{draw.choice(ids)}", value)

    return {
        "hot read": lambda draw: client.request("GET", f"/api/secrets/{draw.choice(ids)}"),
        "write": write,
        "list": lambda _: client.request("GET", "/api/secrets?limit=50"),
        "whole environment": lambda _: keeper.export_request,
    }


def _of_openbao(openbao: FilledOpenBao) -> Kinds:
    client = openbao.client()

    def write(draw: Random) -> bytes:
        number = draw.randrange(openbao.secrets)
        return client.request("POST", openbao_path(number), {"data": {"value": secret_value(number + 1)}})

    return {
        "hot read": lambda draw: client.request("GET", openbao_path(draw.randrange(openbao.secrets))),
        "write": write,
        "list": lambda _: client.request("GET", "/v1/secret/metadata/service-07?list=true&limit=50"),
        "whole environment": lambda _: openbao.object_request,
    }
